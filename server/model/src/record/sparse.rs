//! A record's properties without the rest of it: a filter needs no body.

use super::{BORN_HOST_AT, MAGIC_V1, MAGIC_V2, head, u16_at, u32_at};
use crate::flag::sys;

/// So many bytes at its head tell a record's layout.
pub const HEAD: usize = 112;

/// The stored property text of a record, our checksum included, by its first [`HEAD`] bytes (or more)
/// and its last ones. `None` if the lengths contradict each other or `end` does not hold all of it.
/// Nothing else is checked.
pub fn properties_of<'a>(start: &[u8], end: &'a [u8]) -> Option<&'a [u8]> {
    let (total, magic) = head(start)?;
    let sys_flag = u32_at(start, 36)? as i32;
    let host = |bit| if sys_flag & bit != 0 { 20 } else { 8 };
    let hosts = host(sys::BORN_HOST_V6) + host(sys::STORE_HOST_V6);
    let body_len_at = BORN_HOST_AT + hosts + 20;
    let behind_body = body_len_at + 4 + u32_at(start, body_len_at)? as usize;
    let at = behind_body.checked_sub((total as usize).checked_sub(end.len())?)?;
    let topic = match magic {
        MAGIC_V1 => 1 + usize::from(*end.get(at)?),
        MAGIC_V2 => 2 + usize::from(u16_at(end, at)?),
        _ => return None,
    };
    let len = usize::from(u16_at(end, at + topic)?);
    let properties = end.get(at + topic + 2..)?;
    (properties.len() == len).then_some(properties)
}
