//! A server in a process of its own, for chores that need one: on ports that were free, killed in the end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::parts::server_binary;

/// A running server.
pub struct Standalone {
    process: Child,
    banner: Vec<String>,
}

impl Standalone {
    /// Starts one in a folder; `words` are further options. Its doors are open when this returns.
    pub fn start(data: &Path, words: &[&str]) -> Result<Standalone, String> {
        let mut command = Command::new(server_binary());
        command.arg("standalone").arg("--data").arg(data);
        for port in ["--namesrv-addr", "--broker-addr"] {
            command.args([port, "127.0.0.1:0"]);
        }
        command.args(["--metrics-addr", "off"]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // Thousands of requests: their lines would hide what a chore says.
        command.env("POSTHOUSE_LOG_LEVEL", "warn");
        let mut process = command.spawn().map_err(|error| error.to_string())?;
        let output = process.stdout.take().map(BufReader::new);
        let mut lines = output.into_iter().flat_map(BufRead::lines);
        let mut server = Standalone {
            process,
            banner: Vec::new(),
        };
        while let Some(Ok(line)) = lines.next() {
            let is_last = line.trim_start().starts_with("to try");
            server.banner.push(line);
            if is_last {
                // What it says later is not read, but must not block it.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(server);
            }
        }
        let said = server.banner.join("\n");
        Err(format!(
            "it ended before its doors were open, and said: {said}"
        ))
    }

    /// The first word of what its banner says of something.
    pub fn place(&self, of: &str) -> Result<&str, String> {
        let mut rows = self.banner.iter().map(|line| line.trim_start());
        let place = rows.find_map(|row| row.strip_prefix(of)?.split_whitespace().next());
        place.ok_or_else(|| format!("its banner has no place of the {of}"))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
