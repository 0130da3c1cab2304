//! Base64 (RFC 4648, section 4), too small to need a crate.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = (group >> (18 - 6 * digit)) & 63;
                out.push(char::from(ALPHABET[index as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let data: Vec<u8> = digits.iter().copied().take_while(|byte| *byte != b'=').collect();
    if digits.len() - data.len() > 2 || digits[data.len()..].iter().any(|byte| *byte != b'=') {
        return None;
    }
    let mut out = Vec::new();
    for chunk in data.chunks(4) {
        let mut group = 0u32;
        for byte in chunk {
            let index = ALPHABET.iter().position(|letter| letter == byte)?;
            group = group << 6 | u32::try_from(index).ok()?;
        }
        group <<= 6 * (4 - chunk.len());
        let bytes = group.to_be_bytes();
        out.extend_from_slice(&bytes[1..chunk.len()]);
    }
    Some(out)
}
