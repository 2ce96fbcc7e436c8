//! A place in JSON text: what both of our readers of it step through.

/// Bytes, and how far they were read.
pub(crate) struct Cursor<'b> {
    pub bytes: &'b [u8],
    pub at: usize,
}

impl<'b> Cursor<'b> {
    /// At the beginning.
    pub fn new(bytes: &'b [u8]) -> Cursor<'b> {
        Cursor { bytes, at: 0 }
    }

    /// The byte here; none at the end.
    #[inline]
    pub fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// What is not read yet.
    #[inline]
    pub fn rest(&self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// What was read since `start`.
    #[inline]
    pub fn since(&self, start: usize) -> &'b [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// Steps over blanks.
    #[inline]
    pub fn blanks(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Steps over blanks, and over this byte if it comes next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let there = self.byte() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Whether nothing but blanks is left; steps over them.
    #[inline]
    pub fn ended(&mut self) -> bool {
        self.blanks();
        self.at >= self.bytes.len()
    }
}
