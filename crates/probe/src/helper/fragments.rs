//! The census's other side: a UDP port that says how much of a datagram came.
//!
//! The datagram reaches it whole or not at all, since the kernel reassembles; the answer is shorter than the
//! question, so that the port cannot be used to amplify.

use core::future::poll_fn;
use std::rc::Rc;

use okno_wire::Endpoint;

use crate::net::{Datagrams, NetError, UdpSetup, World};

const ASKED: &[u8; 8] = b"oknofrag";
const CAME: &[u8; 8] = b"oknocame";
/// Shortest question.
const HEAD: usize = 16;

/// A question of `len` bytes (at least 16) with this number.
pub fn question(number: u64, len: usize) -> Vec<u8> {
    let mut out = ASKED.to_vec();
    out.extend(number.to_be_bytes());
    // A pattern that no two fragments share, so that pieces of one size cannot stand for one another.
    out.extend((HEAD..len.max(HEAD)).map(|at| (at / 8) as u8));
    out
}

/// The number and the length that came, from an answer.
pub fn read_answer(bytes: &[u8]) -> Option<(u64, u16)> {
    let rest = bytes.strip_prefix(CAME)?;
    let (number, len) = rest.split_first_chunk::<8>()?;
    let len = len.first_chunk::<2>()?;
    Some((u64::from_be_bytes(*number), u16::from_be_bytes(*len)))
}

fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let rest = question.strip_prefix(ASKED)?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    // Shorter questions get nothing: the answer is of 18 bytes.
    rest.get(..2)?;
    let len = u16::try_from(question.len()).unwrap_or(u16::MAX);
    Some([CAME, number.as_slice(), &len.to_be_bytes()].concat())
}

/// Opens the port.
pub fn open(world: &World, local: Endpoint) -> Result<Rc<dyn Datagrams>, NetError> {
    let address = (!local.ip.is_unspecified()).then_some(local.ip);
    world.udp(UdpSetup { port: local.port, local: address, peer: None })
}

/// Answers until the session ends.
pub async fn serve(_world: World, socket: Rc<dyn Datagrams>) {
    while let Ok(datagram) = poll_fn(|context| socket.poll_receive(context)).await {
        if let Some(bytes) = answer(&datagram.bytes) {
            let _ = socket.send_to(&bytes, datagram.from, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_number_and_length_and_is_shorter_than_its_question() {
        let asked = question(7, 368);
        let said = answer(&asked).unwrap();
        assert_eq!(read_answer(&said), Some((7, 368)));
        assert!(said.len() < asked.len());
        assert_eq!(answer(&asked[..17]), None);
        assert_eq!(answer(b"anything else that is long enough"), None);
        assert_eq!(read_answer(b"oknocame123"), None);
    }
}
