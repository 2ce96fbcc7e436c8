//! The binary header (Apache `RocketMQSerializable`), for clients started with
//! `-Drocketmq.serialize.type=ROCKETMQ`.

use crate::frame::{FrameError, Raw, Scratch, Span};
use crate::language::Language;

/// Request codes of the POP family do not fit the header's 16 bits: Java cuts them, we restore them.
const CUT: [i32; 6] = [200_050, 200_051, 200_053, 200_054, 200_055, 200_151];

/// Reads a header into spans.
pub(crate) fn parse(header: &[u8], scratch: &mut Scratch) -> Result<Raw, FrameError> {
    let mut at = Cursor { header, at: 0 };
    let code = i32::from(i16::from_be_bytes(at.array()?));
    let [language] = at.array()?;
    let version = i32::from(i16::from_be_bytes(at.array()?));
    let opaque = i32::from_be_bytes(at.array()?);
    let flag = i32::from_be_bytes(at.array()?);
    let length = at.long()?;
    let remark = at.text(length)?;
    let length = at.long()?;
    let end = at.at.checked_add(length).filter(|&end| end <= header.len());
    let end = end.ok_or(FrameError::Binary(at.at))?;
    at.header = &header[..end];
    while at.at < end {
        let length = usize::from(u16::from_be_bytes(at.array()?));
        let name = at.text(length)?;
        let length = at.long()?;
        let value = at.text(length)?;
        // An empty name or value is null to Java, and null fields are no fields.
        if let (Some(name), Some(value)) = (name, value) {
            scratch.push(name, value)?;
        }
    }
    Ok(Raw {
        code: uncut(code),
        language: Language::from_ordinal(i64::from(language)),
        version,
        opaque,
        flag,
        remark,
        has_fields: length > 0,
    })
}

fn uncut(code: i32) -> i32 {
    let whole = CUT.into_iter().find(|&pop| pop as i16 == code as i16);
    whole.unwrap_or(code)
}

struct Cursor<'a> {
    header: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let rest = self.header.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk::<N>().ok_or(FrameError::Binary(self.at))?;
        self.at += N;
        Ok(*array)
    }

    #[inline(always)]
    fn long(&mut self) -> Result<usize, FrameError> {
        let length = i32::from_be_bytes(self.array()?);
        usize::try_from(length).map_err(|_| FrameError::Binary(self.at))
    }

    /// A string of `length` bytes; `None` if it is empty. Whether it is UTF-8 is judged by who reads
    /// it: most fields are numbers.
    #[inline(always)]
    fn text(&mut self, length: usize) -> Result<Option<Span>, FrameError> {
        if length == 0 {
            return Ok(None);
        }
        let start = self.at;
        let end = start.saturating_add(length);
        if end > self.header.len() {
            return Err(FrameError::Binary(start));
        }
        self.at = end;
        Ok(Some(Span {
            start: start as u32,
            end: end as u32,
            copied: false,
        }))
    }
}
