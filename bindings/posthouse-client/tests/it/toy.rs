//! Servers that say what a test tells them to.

use std::sync::{Arc, Mutex};

use remoting::limits::Limits;
use remoting::server::{
    Door, Hub, Listener, Options, Outcome, Peer, Run, Running, Server, Service,
};
use remoting::{Command, Frame};

type Say = dyn Fn(&Command) -> Command + Send + Sync;

/// Answers each request as it is told, and remembers the codes.
pub struct Toy {
    say: Box<Say>,
    asked: Mutex<Vec<i32>>,
}

impl Service for Toy {
    fn call(&self, _: &Peer, request: &Frame<'_>, _: Run, out: &mut Vec<u8>) -> Outcome {
        let fields = request
            .ext
            .iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()));
        let command = Command {
            opaque: request.opaque,
            serialize: request.serialize,
            ext: Some(fields.collect()),
            body: request.body.to_vec(),
            ..Command::request(request.code)
        };
        self.asked.lock().unwrap().push(request.code);
        let answer = Command {
            opaque: request.opaque,
            serialize: request.serialize,
            flag: 1,
            ..(self.say)(&command)
        };
        answer.encode(out);
        Outcome::Done
    }
}

/// A running toy.
pub struct Served {
    toy: Arc<Toy>,
    running: Running,
}

/// Starts a toy on a free port.
pub fn serve(say: impl Fn(&Command) -> Command + Send + Sync + 'static) -> Served {
    let toy = Arc::new(Toy {
        say: Box::new(say),
        asked: Mutex::default(),
    });
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), Door::Main).unwrap();
    let options = Options {
        name: "toy".to_owned(),
        limits: Limits::default(),
    };
    let running = Server::start(vec![listener], options, Hub::new(1), toy.clone()).unwrap();
    Served { toy, running }
}

impl Served {
    pub fn address(&self) -> String {
        self.running.addresses()[0].to_string()
    }

    /// How often it was asked for this.
    pub fn asked(&self, code: i32) -> usize {
        let asked = self.toy.asked.lock().unwrap();
        asked.iter().filter(|asked| **asked == code).count()
    }
}
