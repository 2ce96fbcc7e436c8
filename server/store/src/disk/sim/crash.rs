//! From a trace to what a power cut at any point of it may leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Image, Op, Trace};

const SECTOR: usize = 512;

/// What becomes of writes that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All are there.
    All,
    /// None is.
    Nothing,
    /// Each is there or not, as chance has it.
    Some,
    /// Each is there, not there, or torn: any of its sectors may be missing.
    Torn,
}

#[derive(Clone)]
enum Change {
    Write(u64, Arc<[u8]>),
    SetLen(u64),
}

/// A cursor over a trace: the disk at that moment, flushed and not.
pub struct Crash {
    ops: std::vec::IntoIter<Op>,
    names: BTreeMap<String, usize>,
    inodes: BTreeMap<usize, Arc<Vec<u8>>>,
    unflushed: BTreeMap<usize, Vec<Change>>,
    /// Writes whose flush failed: they may be there or not, for ever.
    limbo: BTreeMap<usize, Vec<Change>>,
    /// Changes of names whose folder was not flushed, in order.
    renames: Vec<Op>,
}

impl Trace {
    /// A cursor at the trace's beginning.
    pub fn crashes(self) -> Crash {
        let mut names = BTreeMap::new();
        let mut inodes = BTreeMap::new();
        for (n, (path, bytes)) in self.start.into_iter().enumerate() {
            names.insert(path, n);
            inodes.insert(n, bytes);
        }
        Crash {
            ops: self.ops.into_iter(),
            names,
            inodes,
            unflushed: BTreeMap::new(),
            limbo: BTreeMap::new(),
            renames: Vec::new(),
        }
    }

    /// Takes out every flush of a folder: what a program that forgets them would have done.
    pub fn without_folder_flushes(mut self) -> Trace {
        self.ops.retain(|op| !matches!(op, Op::SyncDir { .. }));
        self
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn apply_name(names: &mut BTreeMap<String, usize>, op: &Op) {
    match op {
        Op::Create { path, inode } => {
            names.insert(path.clone(), *inode);
        }
        Op::Rename { from, to } => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Op::Remove { path } => {
            names.remove(path);
        }
        _ => {}
    }
}

fn changed_folder(op: &Op) -> &str {
    match op {
        Op::Create { path, .. } | Op::Remove { path } => folder(path),
        Op::Rename { to, .. } => folder(to),
        _ => "",
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, new) => {
            let end = *at as usize + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at as usize..end].copy_from_slice(new);
        }
        Change::SetLen(len) => bytes.resize(*len as usize, 0),
    }
}

fn apply_torn(bytes: &mut Vec<u8>, change: &Change, rng: &mut fastrand::Rng) {
    let Change::Write(at, new) = change else {
        return apply(bytes, change);
    };
    let end = *at as usize + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    let from = rng.usize(..3);
    let mut position = *at as usize;
    while position < end {
        let next = ((position / SECTOR + 1) * SECTOR).min(end);
        // Torn in the middle is likelier than speckled, and both happen.
        let kept = match from {
            0 => rng.bool(),
            1 => rng.u8(..8) != 0,
            _ => rng.u8(..8) == 0,
        };
        if kept {
            let part = &new[position - *at as usize..next - *at as usize];
            bytes[position..next].copy_from_slice(part);
        }
        position = next;
    }
}

impl Crash {
    /// Goes one step on; `false` at the end.
    pub fn step(&mut self) -> bool {
        let Some(op) = self.ops.next() else {
            return false;
        };
        match op {
            Op::Create { inode, .. } => {
                self.inodes.insert(inode, Arc::default());
                self.renames.push(op);
            }
            Op::Rename { .. } | Op::Remove { .. } => self.renames.push(op),
            Op::SyncDir { dir } => {
                let (done, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.renames)
                    .into_iter()
                    .partition(|op| changed_folder(op) == dir);
                done.iter().for_each(|op| apply_name(&mut self.names, op));
                self.renames = rest;
            }
            Op::Write { inode, at, bytes } => {
                let changes = self.unflushed.entry(inode).or_default();
                changes.push(Change::Write(at, bytes));
            }
            Op::SetLen { inode, len } => {
                let changes = self.unflushed.entry(inode).or_default();
                changes.push(Change::SetLen(len));
            }
            Op::Sync { inode } => {
                let changes = self.unflushed.remove(&inode).unwrap_or_default();
                let file = Arc::make_mut(self.inodes.entry(inode).or_default());
                changes.iter().for_each(|change| apply(file, change));
            }
            Op::SyncFailed { inode } => {
                let changes = self.unflushed.remove(&inode).unwrap_or_default();
                self.limbo.entry(inode).or_default().extend(changes);
            }
        }
        true
    }

    /// One disk that a power cut now may leave.
    pub fn image(&self, keep: Keep, rng: &mut fastrand::Rng) -> Image {
        let mut names = self.names.clone();
        let renamed = match keep {
            Keep::All => self.renames.len(),
            Keep::Nothing => 0,
            Keep::Some | Keep::Torn => rng.usize(..=self.renames.len()),
        };
        for op in &self.renames[..renamed] {
            apply_name(&mut names, op);
        }
        let mut image = Image::new();
        for (path, inode) in names {
            let mut file = self.inodes.get(&inode).cloned().unwrap_or_default();
            let limbo = self.limbo.get(&inode).into_iter().flatten();
            let unflushed = self.unflushed.get(&inode).into_iter().flatten();
            for change in limbo.chain(unflushed) {
                match keep {
                    Keep::All => apply(Arc::make_mut(&mut file), change),
                    Keep::Nothing => {}
                    Keep::Some if rng.bool() => apply(Arc::make_mut(&mut file), change),
                    Keep::Some => {}
                    Keep::Torn => match rng.u8(..3) {
                        0 => {}
                        1 => apply(Arc::make_mut(&mut file), change),
                        _ => apply_torn(Arc::make_mut(&mut file), change, rng),
                    },
                }
            }
            image.insert(path, file);
        }
        image
    }
}
