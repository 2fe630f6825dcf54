//! Names where they stand, with compression (RFC 1035 §4.1.4).

use crate::malformed::{Found, Malformed};

/// Longest name on the wire (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;

/// A name in a message.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Name<'a> {
    /// Checks the name at `at` and moves `at` past it. Pointers have to point backwards, so the walk ends.
    pub(super) fn read(message: &'a [u8], at: &mut usize) -> Result<Self, Malformed> {
        let name = Self { message, at: *at };
        let (mut place, mut total, mut end) = (*at, 0, None);
        loop {
            let short =
                |expected| Malformed::short("dns", place, expected, message.len().saturating_sub(place));
            let len = *message.get(place).ok_or_else(|| short("name"))?;
            match len {
                0 => {
                    *at = end.unwrap_or(place + 1);
                    return Ok(name);
                }
                1..=63 => {
                    total += usize::from(len) + 1;
                    if total >= MAX_NAME {
                        return Err(Malformed::value(
                            "dns",
                            place,
                            "name of at most 255 bytes",
                            total as u64,
                        ));
                    }
                    if place + 1 + usize::from(len) > message.len() {
                        return Err(short("label"));
                    }
                    place += 1 + usize::from(len);
                }
                0xc0.. => {
                    let low = *message.get(place + 1).ok_or_else(|| short("compression pointer"))?;
                    let target = usize::from(u16::from_be_bytes([len & 0x3f, low]));
                    if target >= place {
                        return Err(Malformed::value("dns", place, "pointer backwards", target as u64));
                    }
                    end.get_or_insert(place + 2);
                    place = target;
                    // Pointers alone cost nothing; a chain of them is bounded like labels.
                    total += 1;
                    if total >= MAX_NAME {
                        return Err(Malformed {
                            layer: "dns",
                            offset: place,
                            expected: "end of pointers",
                            found: Found::Value(total as u64),
                        });
                    }
                }
                _ => return Err(Malformed::value("dns", place, "label length or pointer", u64::from(len))),
            }
        }
    }

    /// Labels in order.
    pub const fn labels(&self) -> Labels<'a> {
        Labels { message: self.message, place: self.at, steps: 0 }
    }

    /// As text with its case kept, without a final dot; dots and odd bytes in labels are escaped as in
    /// master files (RFC 1035 §5.1). The root is empty.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                out.push('.');
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' => out.extend(['\\', char::from(*byte)]),
                    0x21..=0x7e => out.push(char::from(*byte)),
                    _ => out.push_str(&format!("\\{byte:03}")),
                }
            }
        }
        out
    }

    /// As text in ASCII lower case.
    pub fn normalised(&self) -> String {
        let mut text = self.to_text();
        text.make_ascii_lowercase();
        text
    }

    /// Whether it is `name` or, with `below`, a name under it; case aside, without allocating.
    pub fn is_under(&self, name: &str, below: bool) -> bool {
        let wanted = name.split('.').filter(|label| !label.is_empty()).count();
        let have = self.labels().count();
        let Some(skip) = have.checked_sub(wanted).filter(|skip| *skip == 0 || below) else { return false };
        let labels = name.split('.').filter(|label| !label.is_empty());
        self.labels()
            .skip(skip)
            .zip(labels)
            .all(|(have, wanted)| have.eq_ignore_ascii_case(wanted.as_bytes()))
    }
}

/// See [`Name::labels`].
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    message: &'a [u8],
    place: usize,
    steps: usize,
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // The name was checked when it was read; the bound is for the reader's peace.
        while self.steps < 2 * MAX_NAME {
            self.steps += 1;
            let len = *self.message.get(self.place)?;
            match len {
                0 => return None,
                1..=63 => {
                    let label = self.message.get(self.place + 1..self.place + 1 + usize::from(len))?;
                    self.place += 1 + usize::from(len);
                    return Some(label);
                }
                0xc0.. => {
                    let low = *self.message.get(self.place + 1)?;
                    self.place = usize::from(u16::from_be_bytes([len & 0x3f, low]));
                }
                _ => return None,
            }
        }
        None
    }
}
