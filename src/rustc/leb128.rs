//! Numbers as rustc writes them: seven bits a byte, lowest first, the high bit says that more follow.

/// Returns how many bytes `number` takes.
pub fn size(number: u32) -> u32 {
    (32 - number.leading_zeros()).div_ceil(7).max(1)
}

/// Writes `number`, in seven bits a byte.
pub fn write(bytes: &mut Vec<u8>, number: impl Into<u64>) {
    let mut rest = number.into();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// Reads a number at `at`, and moves that behind it.
pub fn read(bytes: &[u8], at: &mut usize) -> Option<u128> {
    let mut number = 0;
    for shift in (0..126).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
