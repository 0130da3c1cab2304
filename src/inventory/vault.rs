//! Ansible vault, formats 1.1 and 1.2: AES-256-CTR under keys that PBKDF2-HMAC-SHA256 makes of a
//! password, with an HMAC over the ciphertext (ansible-core `parsing/vault/__init__.py`).

use std::fmt;
use std::sync::Arc;

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Diagnostic, Result};

const HEADER: &str = "$ANSIBLE_VAULT";

/// PBKDF2 rounds; the format fixes them.
const ROUNDS: u32 = 10_000;

/// The vault id of a password that was given without one.
pub const DEFAULT_ID: &str = "default";

/// Vault passwords by vault id, best first.
#[derive(Clone, Default)]
pub struct Keys(Vec<(String, Arc<SecretSlice<u8>>)>);

impl Keys {
    /// Adds a password under a vault id; earlier ones are tried first.
    pub fn add(&mut self, id: impl Into<String>, password: Vec<u8>) {
        self.0.push((id.into(), Arc::new(password.into())));
    }

    /// Whether there is no password at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The passwords to try for a vault of this id: those of the same id first, as Ansible does.
    fn candidates<'k>(&'k self, id: &'k str) -> impl Iterator<Item = &'k [u8]> {
        let same = self.0.iter().filter(move |(known, _)| known == id);
        let others = self.0.iter().filter(move |(known, _)| known != id);
        same.chain(others).map(|(_, password)| password.expose_secret())
    }

    /// The plain bytes of a vault text.
    pub fn decrypt(&self, text: &str) -> Result<Zeroizing<Vec<u8>>> {
        let sealed = Sealed::parse(text)?;
        if self.is_empty() {
            return Err(Diagnostic::new("a vault value and no vault password")
                .hint("give one with --vault-password-file FILE, --vault-id LABEL@FILE or ANSIBLE_VAULT_PASSWORD_FILE"));
        }
        for password in self.candidates(&sealed.id) {
            if let Some(plain) = sealed.open(password)? {
                return Ok(plain);
            }
        }
        let known: Vec<&str> = self.0.iter().map(|(id, _)| id.as_str()).collect();
        Err(Diagnostic::new("no vault password opens this value").hint(format!(
            "it was encrypted under the vault id `{}`; passwords were given for: {}",
            sealed.id,
            known.join(", ")
        )))
    }

    /// The plain text of a vault text.
    pub fn decrypt_text(&self, text: &str) -> Result<Zeroizing<String>> {
        let plain = self.decrypt(text)?;
        std::str::from_utf8(&plain)
            .map(|text| Zeroizing::new(text.to_owned()))
            .map_err(|_| Diagnostic::new("the decrypted value is not UTF-8 text"))
    }
}

/// Never the passwords.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

/// Whether a text is a vault.
pub fn is_vault(text: &str) -> bool {
    text.starts_with(HEADER) && text.is_ascii()
}

/// A vault text taken apart.
struct Sealed {
    id: String,
    salt: Vec<u8>,
    mac: Vec<u8>,
    bytes: Vec<u8>,
}

impl Sealed {
    fn parse(text: &str) -> Result<Self> {
        let broken = |what: &str| {
            Diagnostic::new(format!("not a vault that can be read: {what}")).hint(
                "the whole block that `ansible-vault encrypt_string` printed is needed, header included",
            )
        };
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().trim().split(';').map(str::trim).collect();
        let [HEADER, version, cipher, rest @ ..] = header.as_slice() else {
            return Err(broken("the header `$ANSIBLE_VAULT;VERSION;CIPHER` is missing"));
        };
        if !matches!(*version, "1.1" | "1.2") {
            return Err(broken(&format!("format version `{version}`, known are 1.1 and 1.2")));
        }
        if *cipher != "AES256" {
            return Err(broken(&format!("cipher `{cipher}`, known is AES256")));
        }
        let body: String = lines.map(str::trim).collect();
        let body = hex::decode(&body).map_err(|_| broken("the body is not hexadecimal"))?;
        let mut parts = body.splitn(3, |byte| *byte == b'\n').map(hex::decode);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(salt)), Some(Ok(mac)), Some(Ok(bytes))) => {
                let id = rest.first().map_or(DEFAULT_ID, |id| id).to_owned();
                Ok(Self { id, salt, mac, bytes })
            }
            _ => Err(broken("the body is incomplete")),
        }
    }

    /// The plain bytes, or `None` when the password is wrong.
    fn open(&self, password: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let mut keys = Zeroizing::new([0u8; 80]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &self.salt, ROUNDS, &mut *keys);
        let mut mac = Hmac::<Sha256>::new_from_slice(&keys[32..64]).expect("HMAC takes keys of any length");
        mac.update(&self.bytes);
        if mac.verify_slice(&self.mac).is_err() {
            return Ok(None);
        }
        let mut plain = Zeroizing::new(self.bytes.clone());
        let mut cipher = Ctr128BE::<Aes256>::new_from_slices(&keys[..32], &keys[64..])
            .expect("the lengths are those of AES-256 and its block");
        cipher.apply_keystream(&mut plain);
        // PKCS#7: the last byte says how many bytes were added.
        let padding = usize::from(plain.last().copied().unwrap_or(0));
        if padding == 0 || padding > 16 || padding > plain.len() {
            return Err(Diagnostic::new("the vault is damaged: its padding is wrong"));
        }
        let length = plain.len() - padding;
        plain.truncate(length);
        Ok(Some(plain))
    }
}
