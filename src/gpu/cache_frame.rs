//! The bytes of a driver's pipeline cache as an application keeps them: a driver trusts what it is given, so it is given
//! nothing but what it gave.
//!
//! Little-endian: magic, version, bytes of the key, the key, bytes of the data, a checksum of key and data, the data.

const MAGIC: [u8; 8] = *b"wgpu-atn";
const VERSION: u32 = 1;

/// The data of a driver, ready to be kept.
pub fn framed(data: &[u8], key: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((key.len() as u64).to_le_bytes());
    bytes.extend(key.as_bytes());
    bytes.extend((data.len() as u64).to_le_bytes());
    bytes.extend(checksum(key.as_bytes(), data).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// The data that a driver of this key gave, or why there is none.
pub fn unframed<'a>(bytes: &'a [u8], key: &str) -> Result<&'a [u8], String> {
    let mut left = Bytes(bytes);
    if left.array() != Some(MAGIC) {
        return Err("it is none of wgpu-attention's".into());
    }
    let version = u32::from_le_bytes(left.array().ok_or(TRUNCATED)?);
    if version != VERSION {
        return Err(format!(
            "it is of version {version}, this is version {VERSION}"
        ));
    }
    let own = left.counted()?;
    if own != key.as_bytes() {
        let own = String::from_utf8_lossy(own);
        return Err(format!(
            "it is of another driver: {own:.200}, this is {key}"
        ));
    }
    let size = left.number().ok_or(TRUNCATED)?;
    let sum = left.number().ok_or(TRUNCATED)?;
    let data = left.0;
    match data.len() as u64 {
        len if len < size => Err(TRUNCATED.into()),
        len if len > size => Err(format!("{} bytes follow its end", len - size)),
        _ if checksum(own, data) != sum => Err("its checksum does not hold".into()),
        _ => Ok(data),
    }
}

const TRUNCATED: &str = "its end is missing";

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, left) = self.0.split_first_chunk()?;
        self.0 = left;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// As many bytes as the number before them says.
    fn counted(&mut self) -> Result<&'a [u8], String> {
        let count = self.number().ok_or(TRUNCATED)?;
        let count = usize::try_from(count).map_err(|_| TRUNCATED)?;
        let (counted, left) = self.0.split_at_checked(count).ok_or(TRUNCATED)?;
        self.0 = left;
        Ok(counted)
    }
}

/// FNV-1a of 64 bits, of the length of the first part too.
fn checksum(key: &[u8], data: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let len = (key.len() as u64).to_le_bytes();
    let all = len.iter().chain(key).chain(data);
    all.fold(BASIS, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}
