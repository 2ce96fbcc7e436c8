//! The binary header (Apache `RocketMQSerializable`), for clients started with
//! `-Drocketmq.serialize.type=ROCKETMQ`.

use crate::frame::{FrameError, Raw, Scratch, Span};
use crate::language::Language;

/// Request codes of the POP family do not fit the header's 16 bits: Java cuts them, we restore them.
const CUT: [i32; 6] = [200_050, 200_051, 200_053, 200_054, 200_055, 200_151];

/// Reads a header into spans.
pub(crate) fn parse(header: &[u8], scratch: &mut Scratch) -> Result<Raw, FrameError> {
    let mut rest = Rest {
        bytes: header,
        end: header.len(),
    };
    let fixed: [u8; 13] = rest.array()?;
    let [c0, c1, language, v0, v1, o0, o1, o2, o3, f0, f1, f2, f3] = fixed;
    let length = rest.long()?;
    let remark = rest.text(length)?;
    let length = rest.long()?;
    // What is behind the fields is nobody's business.
    rest.cut(length)?;
    while !rest.bytes.is_empty() {
        if let Some((letter, name, value)) = rest.lettered() {
            scratch.push(letter, name, value)?;
            continue;
        }
        let length = usize::from(u16::from_be_bytes(rest.array()?));
        let name = rest.text(length)?;
        let length = rest.long()?;
        let value = rest.text(length)?;
        // An empty name or value is null to Java, and null fields are no fields.
        if !name.is_empty() && !value.is_empty() {
            scratch.push(0, name, value)?;
        }
    }
    Ok(Raw {
        code: uncut(i32::from(i16::from_be_bytes([c0, c1]))),
        language: Language::from_ordinal(i64::from(language)),
        version: i32::from(i16::from_be_bytes([v0, v1])),
        opaque: i32::from_be_bytes([o0, o1, o2, o3]),
        flag: i32::from_be_bytes([f0, f1, f2, f3]),
        remark: (!remark.is_empty()).then_some(remark),
        has_fields: length > 0,
    })
}

fn uncut(code: i32) -> i32 {
    let whole = CUT.into_iter().find(|&pop| pop as i16 == code as i16);
    whole.unwrap_or(code)
}

/// What is left to read. It only ever gets shorter, so no position is compared twice.
struct Rest<'a> {
    bytes: &'a [u8],
    /// Where it ends in the header.
    end: usize,
}

impl Rest<'_> {
    #[inline(always)]
    fn at(&self) -> usize {
        self.end.wrapping_sub(self.bytes.len())
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let Some((array, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(FrameError::Binary(self.at()));
        };
        self.bytes = rest;
        Ok(*array)
    }

    #[inline(always)]
    fn long(&mut self) -> Result<usize, FrameError> {
        let length = i32::from_be_bytes(self.array()?);
        usize::try_from(length).map_err(|_| FrameError::Binary(self.at()))
    }

    /// A string of `length` bytes. Whether it is UTF-8 is judged by who reads it: most fields are
    /// numbers.
    #[inline(always)]
    fn text(&mut self, length: usize) -> Result<Span, FrameError> {
        let start = self.at();
        let Some((_, rest)) = self.bytes.split_at_checked(length) else {
            return Err(FrameError::Binary(start));
        };
        self.bytes = rest;
        Ok(Span::of(start, self.at()))
    }

    /// A field whose name is one byte and whose value is not empty, as all fields of a send are. Moves
    /// only if that is what is there.
    #[inline(always)]
    fn lettered(&mut self) -> Option<(u8, Span, Span)> {
        // Length of the name 2, name 1, length of the value 4, and a byte of the value.
        let word = u64::from_be_bytes(*self.bytes.first_chunk()?);
        let length = (word >> 8) as u32 as usize;
        let rest = self.bytes.get(7 + length..)?;
        let start = self.at();
        if word >> 48 != 1 || length == 0 {
            return None;
        }
        self.bytes = rest;
        let value = Span::of(start + 7, start + 7 + length);
        Some(((word >> 40) as u8, Span::of(start + 2, start + 3), value))
    }

    /// Nothing behind the next `length` bytes is read.
    fn cut(&mut self, length: usize) -> Result<(), FrameError> {
        let start = self.at();
        let bytes = self.bytes.get(..length);
        self.bytes = bytes.ok_or(FrameError::Binary(start))?;
        self.end = start + length;
        Ok(())
    }
}
