//! rustls's provider for the lab: chance from the running program, and no work done twice.
//!
//! The lab protects no secret. So key pairs come from a pool of 64 that the program's chance picks from, and
//! what two of them agree on is kept; a certificate whose signature once was found good is not checked
//! again. A handshake's messages have the lengths and fields they would have anyway; only some bytes of key
//! shares recur.

use core::cell::RefCell;
use std::sync::{Arc, LazyLock};

use rustls::crypto::{ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret};
use rustls::crypto::{SupportedKxGroup, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use x25519_dalek::{PublicKey, StaticSecret};
use xxhash_rust::xxh3::xxh3_128;

use crate::world::chance;
use crate::world::hasher::FixedMap;

/// Randomness from the running program's stream.
#[derive(Debug)]
struct ProgramRandom;

impl SecureRandom for ProgramRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        chance::fill(bytes);
        Ok(())
    }
}

/// Key pairs in the pool.
const PAIRS: u64 = 64;

/// X25519 (RFC 7748) with key pairs of the pool.
#[derive(Debug)]
struct X25519;

/// The pool and what was worked out before, a thread's own: the values are the same on each.
#[derive(Default)]
struct Known {
    pairs: FixedMap<u64, (StaticSecret, [u8; 32])>,
    agreed: FixedMap<(u64, [u8; 32]), [u8; 32]>,
    good: FixedMap<u128, ()>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// Entries of each kind that are kept; when they are more, they are worked out anew.
const MAX_KNOWN: usize = 16_384;

impl Known {
    fn pair(&mut self, number: u64) -> &(StaticSecret, [u8; 32]) {
        self.pairs.entry(number).or_insert_with(|| {
            let mut bytes = [0; 32];
            chance::Stream::new(chance::hash(number, &[0x7832_3535])).fill(&mut bytes);
            let secret = StaticSecret::from(bytes);
            let public = PublicKey::from(&secret).to_bytes();
            (secret, public)
        })
    }

    /// What pair `number` and the owner of `peer` share; nothing when it is all zeros.
    fn agree(&mut self, number: u64, peer: [u8; 32]) -> Option<[u8; 32]> {
        if let Some(known) = self.agreed.get(&(number, peer)) {
            return Some(*known);
        }
        let shared = self.pair(number).0.diffie_hellman(&PublicKey::from(peer));
        if !shared.was_contributory() {
            return None;
        }
        if self.agreed.len() >= MAX_KNOWN {
            self.agreed.clear();
        }
        self.agreed.insert((number, peer), shared.to_bytes());
        Some(shared.to_bytes())
    }
}

struct X25519Exchange {
    number: u64,
    public: [u8; 32],
}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let number = chance::next_u64() % PAIRS;
        let public = KNOWN.with_borrow_mut(|known| known.pair(number).1);
        Ok(Box::new(X25519Exchange { number, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for X25519Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer: [u8; 32] = peer.try_into().map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        // RFC 8446 §7.4.2: a shared secret of zeros is refused.
        let shared = KNOWN.with_borrow_mut(|known| known.agree(self.number, peer));
        Ok(SharedSecret::from(&shared.ok_or(PeerMisbehaved::InvalidKeyShare)?[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// ring's Ed25519, which remembers certificates that it found good. It does not remember handshakes: their
/// signatures are over other bytes each time.
#[derive(Debug)]
struct Remembering(&'static dyn SignatureVerificationAlgorithm);

/// First byte of what a certificate's signature is over: a SEQUENCE of DER (RFC 5280 §4.1). What a
/// handshake's is over begins with spaces (RFC 8446 §4.4.3) or with a random of the client (RFC 5246 §7.4.3).
const SEQUENCE: u8 = 0x30;

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        if message.first() != Some(&SEQUENCE) {
            return self.0.verify_signature(key, message, signature);
        }
        let parts = [key, message, signature].map(xxh3_128).map(u128::to_le_bytes).concat();
        let mark = xxh3_128(&parts);
        if KNOWN.with_borrow(|known| known.good.contains_key(&mark)) {
            return Ok(());
        }
        self.0.verify_signature(key, message, signature)?;
        KNOWN.with_borrow_mut(|known| {
            if known.good.len() >= MAX_KNOWN {
                known.good.clear();
            }
            known.good.insert(mark, ());
        });
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}

/// ring's algorithms in ring's order, so that hellos stay what they are, Ed25519 with a memory.
static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> = LazyLock::new(|| {
    type Algorithm = &'static dyn SignatureVerificationAlgorithm;
    let known = ring::default_provider().signature_verification_algorithms;
    let with_memory = |algorithm: &Algorithm| -> Algorithm {
        if algorithm.signature_alg_id() == alg_id::ED25519 {
            return Box::leak(Box::new(Remembering(*algorithm)));
        }
        *algorithm
    };
    let each =
        |list: &[Algorithm]| -> &'static [Algorithm] { Vec::leak(list.iter().map(with_memory).collect()) };
    let mapping: Vec<_> = known.mapping.iter().map(|(scheme, list)| (*scheme, each(list))).collect();
    WebPkiSupportedAlgorithms { all: each(known.all), mapping: Vec::leak(mapping) }
});

/// rustls's provider for the lab.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            kx_groups: vec![&X25519],
            secure_random: &ProgramRandom,
            signature_verification_algorithms: *ALGORITHMS,
            ..ring::default_provider()
        })
    });
    PROVIDER.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pairs_agree_and_zeros_are_refused() {
        let [one, two] = [X25519.start().unwrap(), X25519.start().unwrap()];
        let [to_one, to_two] = [two.pub_key().to_vec(), one.pub_key().to_vec()];
        let [one, two] = [one.complete(&to_one).unwrap(), two.complete(&to_two).unwrap()];
        assert_eq!(one.secret_bytes(), two.secret_bytes());
        assert!(X25519.start().unwrap().complete(&[0; 32]).is_err());
        assert!(X25519.start().unwrap().complete(&[9; 31]).is_err());
    }

    #[test]
    fn a_certificate_that_was_good_stays_good_and_a_changed_one_is_refused() {
        let pair = ::ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = ::ring::signature::KeyPair::public_key(&pair).as_ref().to_vec();
        let find = |list: &[&'static dyn SignatureVerificationAlgorithm]| {
            list.iter().copied().find(|known| known.signature_alg_id() == alg_id::ED25519).unwrap()
        };
        let algorithm = find(provider().signature_verification_algorithms.all);
        let mut message = [0x30, 1, 2, 3];
        let signature = pair.sign(&message);
        for _ in 0..2 {
            assert!(algorithm.verify_signature(&key, &message, signature.as_ref()).is_ok());
        }
        message[3] = 4;
        assert!(algorithm.verify_signature(&key, &message, signature.as_ref()).is_err());
    }
}
