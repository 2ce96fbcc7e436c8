//! Compressed bodies. Which algorithm it was stands in three bits of the message's system flag; of
//! 4.x and of zlib in general the bits are 0 or 3.

use std::io::{Read, Write};

use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use model::flag::sys;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::error::MessageError;

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// What every client reads.
    #[default]
    Zlib,
    /// For clients from 5.0 on.
    Lz4,
    /// For clients from 5.0 on.
    Zstd,
}

/// No body that a broker took is longer when it is decompressed: a few bytes may stand for gigabytes.
const BODY_MAX: u64 = 64 << 20;

const LZ4: i32 = 0x100;
const ZSTD: i32 = 0x200;
const ZLIB: i32 = 0x300;

impl Compression {
    /// The bits of the system flag.
    pub fn flag(self) -> i32 {
        let kind = match self {
            Compression::Zlib => ZLIB,
            Compression::Lz4 => LZ4,
            Compression::Zstd => ZSTD,
        };
        sys::COMPRESSED | kind
    }

    /// Compresses a body as Java's compressor of the same name does. `None` if that fails.
    pub fn compress(self, body: &[u8]) -> Option<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 2);
        match self {
            Compression::Zlib => {
                let mut encoder = ZlibEncoder::new(out, flate2::Compression::new(5));
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
            Compression::Lz4 => {
                let mut encoder = FrameEncoder::new(out);
                encoder.write_all(body).ok()?;
                encoder.finish().ok()
            }
            Compression::Zstd => Some(compress_to_vec(body, CompressionLevel::Fastest)),
        }
    }
}

/// Decompresses a body whose system flag says that it is compressed.
///
/// # Errors
/// If the bytes are not what the flag says, or are far too many.
pub fn decompress(sys_flag: i32, body: &[u8]) -> Result<Vec<u8>, MessageError> {
    let broken = |what: String| MessageError::Compression(what);
    match sys_flag & sys::COMPRESSION_MASK {
        0 | ZLIB => read(ZlibDecoder::new(body)),
        LZ4 => read(FrameDecoder::new(body)),
        ZSTD => {
            let decoder = StreamingDecoder::new(body);
            read(decoder.map_err(|error| broken(error.to_string()))?)
        }
        other => Err(broken(format!("unknown kind {other:#x}"))),
    }
}

fn read(from: impl Read) -> Result<Vec<u8>, MessageError> {
    let mut out = Vec::new();
    let read = from.take(BODY_MAX + 1).read_to_end(&mut out);
    match read {
        Ok(_) if out.len() as u64 > BODY_MAX => Err(MessageError::Compression(format!(
            "longer than {BODY_MAX} bytes"
        ))),
        Ok(_) => Ok(out),
        Err(error) => Err(MessageError::Compression(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_read_again() {
        let body: Vec<u8> = (0..100_000_u32).map(|n| (n / 100) as u8).collect();
        for kind in [Compression::Zlib, Compression::Lz4, Compression::Zstd] {
            let small = kind.compress(&body).unwrap();
            assert!(small.len() < body.len() / 10, "{kind:?}: {}", small.len());
            assert_eq!(decompress(kind.flag(), &small).unwrap(), body, "{kind:?}");
            assert!(decompress(kind.flag(), &small[..small.len() / 2]).is_err());
            assert!(decompress(kind.flag(), b"nonsense").is_err());
        }
        let small = Compression::Zlib.compress(&body).unwrap();
        assert_eq!(decompress(sys::COMPRESSED, &small).unwrap(), body);
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![0; BODY_MAX as usize + 1];
        let small = Compression::Zlib.compress(&zeros).unwrap();
        assert!(decompress(sys::COMPRESSED, &small).is_err());
    }
}
