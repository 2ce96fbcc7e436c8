//! An answer that owns its bytes, read in place when it is needed.

use std::cell::RefCell;

use bytes::Bytes;

use crate::command::Command;
use crate::frame::{Decoder, Frame, FrameError};

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new());
}

/// One whole frame as it arrived.
#[derive(Clone, Debug)]
pub struct Answer(Bytes);

impl Answer {
    /// Takes one whole frame, its length word included.
    pub fn new(frame: Bytes) -> Answer {
        Answer(frame)
    }

    /// Decodes the frame and hands it to `read`. Nothing is copied; what `read` keeps, it copies itself.
    ///
    /// # Errors
    /// If the bytes are no frame.
    pub fn read<T>(&self, read: impl FnOnce(&Frame<'_>) -> T) -> Result<T, FrameError> {
        DECODER.with(|decoder| match decoder.try_borrow_mut() {
            Ok(mut decoder) => Ok(read(&decoder.decode(&self.0)?)),
            // Somebody reads one answer inside another.
            Err(_) => Ok(read(&Decoder::new().decode(&self.0)?)),
        })
    }

    /// The body, sharing the frame's bytes.
    ///
    /// # Errors
    /// If the bytes are no frame.
    pub fn body(&self) -> Result<Bytes, FrameError> {
        self.read(|frame| self.0.slice_ref(frame.body))
    }

    /// The command, owning its parts.
    ///
    /// # Errors
    /// If the bytes are no frame.
    pub fn command(&self) -> Result<Command, FrameError> {
        Command::decode(&self.0)
    }
}
