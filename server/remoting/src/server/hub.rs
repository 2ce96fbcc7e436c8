//! The way into I/O threads from anywhere: one mailbox a thread, and one wake-up of the thread for
//! all that was put in before it looked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};

use crate::server::{ConnectionId, Door, Peer};

/// The mailbox of callers inside the process has this number; `crate::local`.
pub(crate) const LOCAL: usize = 0xFF;
/// More I/O threads than this cannot be told apart by a connection's id.
pub(crate) const THREADS_MAX: usize = 0xFE;

/// What reaches an I/O thread from outside.
pub(crate) enum Mail {
    /// A new connection.
    Accepted(TcpStream, SocketAddr, Door),
    /// Frames to send.
    Push(ConnectionId, Vec<u8>),
    /// Close it.
    Close(ConnectionId),
    /// Run a held request again.
    Wake(ConnectionId, u64),
    /// The job of a cold request is done, or (`false`) panicked.
    Warm(ConnectionId, u64, bool),
    /// Answer what is in flight, then close every connection.
    Drain,
    /// Stop now.
    Stop,
}

/// All I/O threads' mailboxes. Made before the server, because services hold it to reach clients.
pub struct Hub {
    boxes: Vec<Mailbox>,
    /// Held requests of callers inside the process: woken by the notice.
    local: Mutex<HashMap<u64, Arc<Notify>>>,
    /// Where pushes to callers inside the process go.
    pushed: Mutex<HashMap<ConnectionId, mpsc::UnboundedSender<Vec<u8>>>>,
    peers: Mutex<HashMap<ConnectionId, Arc<Peer>>>,
    next: AtomicU64,
    /// Told when marks moved, for callers inside the process.
    marks: Notify,
}

#[derive(Default)]
struct Mailbox {
    letters: Mutex<Vec<Mail>>,
    /// Set by who puts the first letter in, cleared by the thread before it takes them out.
    flag: AtomicBool,
    notify: Notify,
    connections: AtomicUsize,
    /// Whether answers are parked: if not, marks may move unnoticed.
    parked: AtomicBool,
    marks_moved: AtomicBool,
}

thread_local! {
    /// On an I/O thread: which hub and which number.
    static HERE: Cell<(usize, usize)> = const { Cell::new((0, usize::MAX)) };
    /// Requests of this thread that were woken by this thread; they run before the tick ends.
    static WOKEN: RefCell<Vec<(ConnectionId, u64)>> = const { RefCell::new(Vec::new()) };
}

impl Hub {
    /// A hub for a server with this many I/O threads (at least 1, at most 254).
    pub fn new(io_threads: usize) -> Arc<Hub> {
        let threads = io_threads.clamp(1, THREADS_MAX);
        Arc::new(Hub {
            boxes: (0..threads).map(|_| Mailbox::default()).collect(),
            local: Mutex::default(),
            pushed: Mutex::default(),
            peers: Mutex::default(),
            next: AtomicU64::new(1),
            marks: Notify::new(),
        })
    }

    /// How many I/O threads there are.
    pub fn io_threads(&self) -> usize {
        self.boxes.len()
    }

    /// Runs held requests again. From an I/O thread, its own requests run in the same tick; other
    /// threads are woken once for all of theirs. Unknown tickets are ignored.
    pub fn wake(&self, held: &[(u64, u64)]) {
        let here = self.here();
        for &(connection, ticket) in held {
            let connection = ConnectionId(connection);
            match connection.thread() {
                LOCAL => self.wake_local(ticket),
                thread if Some(thread) == here => {
                    WOKEN.with_borrow_mut(|woken| woken.push((connection, ticket)));
                    // Whoever works on this thread outside a tick would not look.
                    self.signal(thread);
                }
                thread => {
                    self.post(thread, Mail::Wake(connection, ticket));
                }
            }
        }
    }

    /// Sends whole frames to a connection. `false` if it is gone or takes nothing any more.
    pub fn push(&self, connection: u64, frames: Vec<u8>) -> bool {
        self.peer(connection).is_some_and(|peer| peer.push(frames))
    }

    /// Closes a connection soon.
    pub fn close(&self, connection: u64) {
        if let Some(peer) = self.peer(connection) {
            peer.close();
        }
    }

    /// The peer of an open connection.
    pub fn peer(&self, connection: u64) -> Option<Arc<Peer>> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&ConnectionId(connection)).cloned()
    }

    /// Watermarks moved: every I/O thread looks which parked answers may leave. For the flush thread
    /// and for who receives replicas' acknowledgements.
    pub fn marks_moved(&self) {
        self.marks.notify_waiters();
        for (thread, mailbox) in self.boxes.iter().enumerate() {
            if mailbox.parked.load(Ordering::SeqCst) {
                mailbox.marks_moved.store(true, Ordering::SeqCst);
                self.signal(thread);
            }
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        let counts = self
            .boxes
            .iter()
            .map(|b| b.connections.load(Ordering::Relaxed));
        counts.sum()
    }

    pub(crate) fn post(&self, thread: usize, mail: Mail) -> bool {
        let Some(mailbox) = self.boxes.get(thread) else {
            return self.post_local(mail);
        };
        let letters = mailbox.letters.lock();
        letters.unwrap_or_else(PoisonError::into_inner).push(mail);
        self.signal(thread);
        true
    }

    fn signal(&self, thread: usize) {
        if let Some(mailbox) = self.boxes.get(thread)
            && !mailbox.flag.swap(true, Ordering::SeqCst)
        {
            mailbox.notify.notify_one();
        }
    }

    /// Waits for mail. Then [`Hub::collect`] it.
    pub(crate) async fn mail(&self, thread: usize) {
        if let Some(mailbox) = self.boxes.get(thread) {
            mailbox.notify.notified().await;
        }
    }

    /// Takes the letters; the answer is whether marks moved.
    pub(crate) fn collect(&self, thread: usize, into: &mut Vec<Mail>) -> bool {
        let Some(mailbox) = self.boxes.get(thread) else {
            return false;
        };
        mailbox.flag.store(false, Ordering::SeqCst);
        let mut letters = mailbox
            .letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *letters, into);
        mailbox.marks_moved.swap(false, Ordering::SeqCst)
    }

    /// Says whether [`Hub::marks_moved`] must wake this thread. The thread asks for the marks again
    /// after it has said so.
    pub(crate) fn set_parked(&self, thread: usize, parked: bool) {
        if let Some(mailbox) = self.boxes.get(thread) {
            mailbox.parked.store(parked, Ordering::SeqCst);
        }
    }

    /// Claims a place on the thread with the fewest connections.
    pub(crate) fn place(&self) -> usize {
        let count = |mailbox: &Mailbox| mailbox.connections.load(Ordering::Relaxed);
        let least = (0..self.boxes.len()).min_by_key(|&at| self.boxes.get(at).map(count));
        let least = least.unwrap_or_default();
        if let Some(mailbox) = self.boxes.get(least) {
            mailbox.connections.fetch_add(1, Ordering::Relaxed);
        }
        least
    }

    pub(crate) fn leave(&self, thread: usize) {
        if let Some(mailbox) = self.boxes.get(thread) {
            mailbox.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn connection_id(&self, thread: usize) -> ConnectionId {
        ConnectionId(self.next.fetch_add(1, Ordering::Relaxed) << 8 | thread as u64)
    }

    pub(crate) fn enter(&self, peer: &Arc<Peer>) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.insert(peer.id, peer.clone());
    }

    /// A caller inside the process to whom can be pushed.
    pub(crate) fn enter_local(&self, peer: &Arc<Peer>, to: mpsc::UnboundedSender<Vec<u8>>) {
        let mut pushed = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        pushed.insert(peer.id, to);
        drop(pushed);
        self.enter(peer);
    }

    fn post_local(&self, mail: Mail) -> bool {
        let mut pushed = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        match mail {
            Mail::Push(id, frames) => pushed.get(&id).is_some_and(|to| to.send(frames).is_ok()),
            Mail::Close(id) => pushed.remove(&id).is_some(),
            _ => false,
        }
    }

    pub(crate) fn forget(&self, peer: &Peer) {
        peer.gone();
        let mut pushed = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        pushed.remove(&peer.id);
        drop(pushed);
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.remove(&peer.id);
    }

    /// Makes the calling thread the I/O thread of this number.
    pub(crate) fn settle(&self, thread: usize) {
        HERE.set((self.address(), thread));
    }

    /// Requests of this thread that were woken on this thread since the last look.
    pub(crate) fn take_woken(into: &mut Vec<(ConnectionId, u64)>) {
        WOKEN.with_borrow_mut(|woken| into.append(woken));
    }

    fn here(&self) -> Option<usize> {
        let (hub, thread) = HERE.get();
        (hub == self.address()).then_some(thread)
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Registers a held request of a caller inside the process.
    pub(crate) fn hold_local(&self, ticket: u64, notify: Arc<Notify>) {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        local.insert(ticket, notify);
    }

    pub(crate) fn release_local(&self, ticket: u64) {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        local.remove(&ticket);
    }

    fn wake_local(&self, ticket: u64) {
        let local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = local.get(&ticket) {
            notify.notify_one();
        }
    }

    /// Told each time marks moved.
    pub(crate) fn marks(&self) -> &Notify {
        &self.marks
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} I/O threads, {} connections",
            self.boxes.len(),
            self.connections()
        )
    }
}
