//! Hybrid public key encryption (RFC 9180), the one suite that deployed ECH uses.
//!
//! rustls leaves ECH to a provider with HPKE and ring's has none; base mode with X25519, HKDF-SHA256 and
//! AES-128-GCM is short. The key exchange is that of the world's provider, so that a handshake repeats in the
//! lab. rustls wants a `'static` suite without arguments: the provider is handed over in a thread-local,
//! which is set in the same call that reads it ([`with_provider`]).

use core::cell::RefCell;
use std::sync::Arc;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use rustls::crypto::CryptoProvider;
use rustls::crypto::hpke::{
    EncapsulatedSecret, Hpke, HpkeOpener, HpkePrivateKey, HpkePublicKey, HpkeSealer, HpkeSuite,
};
use rustls::internal::msgs::enums::{HpkeAead, HpkeKdf, HpkeKem};
use rustls::internal::msgs::handshake::HpkeSymmetricCipherSuite;
use rustls::{Error, NamedGroup};

thread_local! {
    static PROVIDER: RefCell<Option<Arc<CryptoProvider>>> = const { RefCell::new(None) };
}

/// Runs `work` with the key exchange of `provider`.
pub(crate) fn with_provider<T>(provider: &Arc<CryptoProvider>, work: impl FnOnce() -> T) -> T {
    PROVIDER.with_borrow_mut(|slot| *slot = Some(provider.clone()));
    let result = work();
    PROVIDER.with_borrow_mut(|slot| *slot = None);
    result
}

/// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
#[derive(Debug)]
struct Suite;

/// The suite, as rustls wants it.
pub(crate) const SUITE: &dyn Hpke = &Suite;

const KEM_ID: u16 = 0x0020;
const KDF_ID: u16 = 0x0001;
const AEAD_ID: u16 = 0x0001;

fn broken() -> Error {
    Error::General("HPKE with X25519 is not possible here".to_owned())
}

/// An exchange with `peer`: the own public key and the shared secret.
fn exchange(peer: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let provider = PROVIDER.with_borrow(Clone::clone).ok_or_else(broken)?;
    let group = provider.kx_groups.iter().find(|group| group.name() == NamedGroup::X25519);
    let exchange = group.ok_or_else(broken)?.start()?;
    let own = exchange.pub_key().to_vec();
    let secret = exchange.complete(peer)?;
    Ok((own, secret.secret_bytes().to_vec()))
}

/// A public key of nobody, for GREASE.
pub(crate) fn some_public_key(provider: &Arc<CryptoProvider>) -> Result<HpkePublicKey, Error> {
    let group = provider.kx_groups.iter().find(|group| group.name() == NamedGroup::X25519);
    Ok(HpkePublicKey(group.ok_or_else(broken)?.start()?.pub_key().to_vec()))
}

fn extract(salt: &[u8], suite: &[u8], label: &str, input: &[u8]) -> Vec<u8> {
    // RFC 9180 §4: LabeledExtract.
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    let labelled = [b"HPKE-v1", suite, label.as_bytes(), input].concat();
    hmac::sign(&key, &labelled).as_ref().to_vec()
}

/// At most 32 bytes: one block of HKDF-Expand.
fn expand(secret: &[u8], suite: &[u8], label: &str, info: &[u8], len: u16) -> Vec<u8> {
    // RFC 9180 §4: LabeledExpand; RFC 5869 §2.3.
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let labelled = [&len.to_be_bytes()[..], b"HPKE-v1", suite, label.as_bytes(), info, &[1]].concat();
    let mut block = hmac::sign(&key, &labelled).as_ref().to_vec();
    block.truncate(usize::from(len));
    block
}

/// The shared secret of the key encapsulation (RFC 9180 §4.1).
fn encapsulate(secret: &[u8], enc: &[u8], peer: &[u8]) -> Vec<u8> {
    let kem = [&b"KEM"[..], &KEM_ID.to_be_bytes()].concat();
    let pseudorandom = extract(&[], &kem, "eae_prk", secret);
    expand(&pseudorandom, &kem, "shared_secret", &[enc, peer].concat(), 32)
}

/// Key and base nonce from the shared secret (RFC 9180 §5.1).
fn schedule(shared: &[u8], info: &[u8]) -> Result<Context, Error> {
    let suite = [&b"HPKE"[..], &KEM_ID.to_be_bytes(), &KDF_ID.to_be_bytes(), &AEAD_ID.to_be_bytes()].concat();
    let mut context = vec![0];
    context.extend(extract(&[], &suite, "psk_id_hash", &[]));
    context.extend(extract(&[], &suite, "info_hash", info));
    let secret = extract(shared, &suite, "secret", &[]);
    let key = expand(&secret, &suite, "key", &context, 16);
    let nonce = expand(&secret, &suite, "base_nonce", &context, 12);
    let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| broken())?;
    let nonce = nonce.try_into().map_err(|_| broken())?;
    Ok(Context { key: LessSafeKey::new(key), nonce, count: 0 })
}

#[derive(Debug)]
struct Context {
    key: LessSafeKey,
    nonce: [u8; 12],
    count: u64,
}

impl Context {
    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = self.nonce;
        for (byte, count) in nonce[4..].iter_mut().zip(self.count.to_be_bytes()) {
            *byte ^= count;
        }
        self.count += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

impl HpkeSealer for Context {
    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = self.next_nonce();
        let mut out = plaintext.to_vec();
        self.key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut out).map_err(|_| broken())?;
        Ok(out)
    }
}

impl Hpke for Suite {
    fn seal(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        peer: &HpkePublicKey,
    ) -> Result<(EncapsulatedSecret, Vec<u8>), Error> {
        let (enc, mut sealer) = self.setup_sealer(info, peer)?;
        Ok((enc, sealer.seal(aad, plaintext)?))
    }

    fn setup_sealer(
        &self,
        info: &[u8],
        peer: &HpkePublicKey,
    ) -> Result<(EncapsulatedSecret, Box<dyn HpkeSealer + 'static>), Error> {
        let (enc, secret) = exchange(&peer.0)?;
        let context = schedule(&encapsulate(&secret, &enc, &peer.0), info)?;
        Ok((EncapsulatedSecret(enc), Box::new(context)))
    }

    fn open(
        &self,
        _: &EncapsulatedSecret,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &HpkePrivateKey,
    ) -> Result<Vec<u8>, Error> {
        Err(broken())
    }

    fn setup_opener(
        &self,
        _: &EncapsulatedSecret,
        _: &[u8],
        _: &HpkePrivateKey,
    ) -> Result<Box<dyn HpkeOpener + 'static>, Error> {
        Err(broken())
    }

    fn generate_key_pair(&self) -> Result<(HpkePublicKey, HpkePrivateKey), Error> {
        Err(broken())
    }

    fn suite(&self) -> HpkeSuite {
        HpkeSuite {
            kem: HpkeKem::DHKEM_X25519_HKDF_SHA256,
            sym: HpkeSymmetricCipherSuite { kdf_id: HpkeKdf::HKDF_SHA256, aead_id: HpkeAead::AES_128_GCM },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    // RFC 9180, appendix A.1.1: base mode of exactly this suite.
    #[test]
    fn nonce_and_ciphertext_are_those_of_the_specifications_example() {
        let shared = hex("fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc");
        let info = hex("4f6465206f6e2061204772656369616e2055726e");
        let mut context = schedule(&shared, &info).unwrap();
        assert_eq!(context.nonce.to_vec(), hex("56d890e5accaaf011cff4b7d"));
        let text = hex("4265617574792069732074727574682c20747275746820626561757479");
        let sealed = context.seal(&hex("436f756e742d30"), &text).unwrap();
        assert_eq!(
            sealed,
            hex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9\
                 6d8770ac83d07bea87e13c512a")
        );
    }
}
