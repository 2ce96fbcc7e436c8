//! The tasks of an I/O thread: its mail, its deadlines, its sweeps, and one for each connection.

use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until, timeout};

use crate::proxy::{self, Greeting};
use crate::server::connection::Connection;
use crate::server::held::Cause;
use crate::server::hub::Mail;
use crate::server::thread::Thread;
use crate::server::{Again, Door, Peer};

/// Runs the thread's tasks until it is stopped.
pub(crate) async fn run(thread: Rc<Thread>, listeners: Vec<super::Listener>) {
    let tasks = LocalSet::new();
    thread.hub.settle(thread.index);
    for listener in listeners {
        let acceptor = super::accept::accept(thread.clone(), listener);
        let acceptor = tasks.spawn_local(acceptor);
        thread.acceptors.borrow_mut().push(acceptor);
    }
    tasks.spawn_local(thread.clone().ticks());
    tasks.spawn_local(mail(thread.clone()));
    tasks.spawn_local(deadlines(thread.clone()));
    tasks.spawn_local(sweeps(thread.clone()));
    tasks.run_until(thread.until_stopped()).await;
    // Closes what is still open: each connection's task takes its leave when it is dropped.
    drop(tasks);
}

async fn mail(thread: Rc<Thread>) {
    let mut letters = Vec::new();
    loop {
        thread.hub.mail(thread.index).await;
        let marks_moved = thread.hub.collect(thread.index, &mut letters);
        for letter in letters.drain(..) {
            read_letter(&thread, letter);
        }
        if marks_moved {
            thread.release();
        }
        thread.finish_tick();
    }
}

fn read_letter(thread: &Rc<Thread>, letter: Mail) {
    let find = |id| thread.connections.borrow().get(&id).cloned();
    match letter {
        Mail::Accepted(stream, remote, door) => {
            spawn_local(connection(thread.clone(), stream, remote, door));
        }
        Mail::Push(id, frames) => {
            if let Some(connection) = find(id) {
                connection.push(thread, &frames);
            }
        }
        Mail::Close(id) => {
            if let Some(connection) = find(id) {
                connection.close();
            }
        }
        Mail::Wake(id, ticket) => thread.rerun(id, ticket, Cause::Run(Again::Woken)),
        Mail::Warm(id, ticket, true) => thread.rerun(id, ticket, Cause::Run(Again::Warm)),
        Mail::Warm(id, ticket, false) => thread.rerun(id, ticket, Cause::Failed),
        Mail::Drain => drain(thread),
        Mail::Stop => thread.stop(),
    }
}

/// The first phase of the end: no new connections, no new requests; what is held is answered as if
/// its time were over, and each connection ends when its answers are written.
fn drain(thread: &Rc<Thread>) {
    for acceptor in thread.acceptors.borrow_mut().drain(..) {
        acceptor.abort();
    }
    thread.draining.set(true);
    let open: Vec<_> = thread.connections.borrow().values().cloned().collect();
    for connection in &open {
        connection.end_holds(thread);
    }
    thread.finish_tick();
    for connection in &open {
        connection.wake();
    }
    if open.is_empty() {
        thread.stop();
    }
}

async fn deadlines(thread: Rc<Thread>) {
    loop {
        let held = thread.deadlines.borrow().next();
        let parked = thread.parked.borrow().deadline();
        match held.into_iter().chain(parked).min() {
            Some(next) => tokio::select! {
                () = sleep_until(next.into()) => {}
                () = thread.deadline_moved.notified() => {}
            },
            None => thread.deadline_moved.notified().await,
        }
        let now = Instant::now();
        loop {
            let due = thread.deadlines.borrow_mut().pop(now);
            let Some((connection, ticket)) = due else {
                break;
            };
            thread.rerun(connection, ticket, Cause::Run(Again::Deadline));
        }
        thread.expire_parked(now);
        thread.finish_tick();
        let mut deadlines = thread.deadlines.borrow_mut();
        if deadlines.is_stale() {
            let connections = thread.connections.borrow();
            deadlines.retain(|connection, ticket| {
                let connection = connections.get(&connection);
                connection.is_some_and(|connection| connection.holds(ticket))
            });
        }
    }
}

async fn sweeps(thread: Rc<Thread>) {
    let limits = &thread.limits;
    let shortest = limits.idle.min(limits.write_stall).min(limits.frame_stall);
    let period = (shortest / 8).clamp(Duration::from_millis(5), Duration::from_secs(1));
    loop {
        sleep(period).await;
        for connection in thread.connections.borrow().values() {
            connection.sweep(&thread, period);
        }
    }
}

async fn connection(thread: Rc<Thread>, stream: TcpStream, remote: SocketAddr, door: Door) {
    let _place = Place(&thread);
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
        return;
    };
    let mut tail = thread.buffers.take();
    let greeting = proxy::greet(&stream, &mut tail);
    let remote = match timeout(thread.limits.frame_stall, greeting).await {
        Ok(Greeting::Proxied(source)) => source.unwrap_or(remote),
        Ok(Greeting::Plain) => remote,
        Ok(Greeting::Close) | Err(_) => return thread.buffers.give(tail),
    };
    if thread.draining.get() {
        return;
    }
    let id = thread.hub.connection_id(thread.index);
    let peer = Arc::new(Peer::new(id, remote, door, &thread.hub));
    let connection = Connection::new(peer, stream, tail);
    let open = Open::new(&thread, connection);
    std::future::poll_fn(|context| open.connection.poll(&thread, context)).await;
}

/// A place that [`super::Hub::place`] claimed.
struct Place<'a>(&'a Thread);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.hub.leave(self.0.index);
    }
}

/// A connection that the service knows of. It takes its leave however its task ends.
struct Open<'a> {
    thread: &'a Thread,
    connection: Rc<Connection>,
}

impl<'a> Open<'a> {
    fn new(thread: &'a Thread, connection: Rc<Connection>) -> Open<'a> {
        let peer = &connection.peer;
        thread.hub.enter(peer);
        let mut connections = thread.connections.borrow_mut();
        connections.insert(peer.id, connection.clone());
        drop(connections);
        thread.service.opened(peer);
        Open { thread, connection }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Open { thread, connection } = self;
        connection.leave(thread);
        let mut connections = thread.connections.borrow_mut();
        connections.remove(&connection.peer.id);
        let last = connections.is_empty();
        drop(connections);
        thread.hub.forget(&connection.peer);
        thread.service.closed(&connection.peer);
        if last && thread.draining.get() {
            thread.stop();
        }
    }
}
