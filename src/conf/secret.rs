//! Which values are secret, and how to show them: only the secret part becomes `***`.

/// What stands for a secret.
pub const MASK: &str = "***";

/// Ends of keys whose values speak about secrets and are none themselves.
const HARMLESS: &[&str] = &[
    "_file",
    "_path",
    "_dir",
    "_length",
    "_days",
    "_count",
    "_rounds",
    "_age",
    "_regex",
    "_algorithm",
    "_algorithms",
    "_size",
    "_timeout",
    "_expiration",
    "_enabled",
    "_type",
    "_description",
    "_name",
];

/// Whether the value of `key` is a secret as a whole. Case, dashes and prefixes such as `OS_GROUP__` or
/// `cluster_formation.aws.` do not matter.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    let key = key.rsplit("__").next().unwrap_or(&key);
    let key = key.rsplit(['.', ':', '/']).next().unwrap_or(key);
    if HARMLESS.iter().any(|end| key.ends_with(end)) {
        return false;
    }
    ["password", "passwd", "passphrase", "secret", "cookie", "hmac_key"].iter().any(|part| key.contains(part))
        || ["_key", "_keys", "_token", "_tokens", "_pass", "_pwd", "_credentials"]
            .iter()
            .any(|end| key.ends_with(end))
        || ["pass", "pwd", "token", "credentials", "private_key"].contains(&key)
}

/// `value` of `key` as it may be shown: `***` for a secret, `rabbit://user:***@host` for a URL.
/// An empty value stays empty: that nothing is set is no secret.
pub fn mask_value(key: &str, value: &str) -> String {
    if is_secret_key(key) {
        if value.is_empty() { String::new() } else { MASK.to_owned() }
    } else {
        mask_urls(value)
    }
}

/// `line` with the values of secret keys and the passwords of URLs masked; for a line whose file is not
/// known or could not be read.
pub fn mask_line(line: &str) -> String {
    if let Some(at) = line.find(['=', ':']) {
        let key = line[..at]
            .trim()
            .trim_start_matches(['#', ';', '+', '-', ' ', '"', '\''])
            .trim_end_matches(['"', '\'']);
        if is_secret_key(key) {
            let value = &line[at + 1..];
            let lead = value.len() - value.trim_start().len();
            let shown = mask_value(key, value.trim());
            return format!("{}{shown}", &line[..at + 1 + lead]);
        }
    }
    mask_urls(line)
}

/// Every password in `scheme://user:password@host…` masked, hosts and users kept.
pub fn mask_urls(text: &str) -> String {
    let Some(at) = text.find("://") else { return text.to_owned() };
    let (scheme, rest) = text.split_at(at + 3);
    // A password may hold `/`, `?` and even `@`: everything up to the last `@` is suspect.
    let Some(end) = rest.rfind('@') else { return text.to_owned() };
    let mut shown = scheme.to_owned();
    for (index, piece) in rest[..end].split('@').enumerate() {
        // `host:port,user:password` between two `@`; the first piece has no host in front.
        let (host, credentials) = match piece.split_once(',') {
            Some((host, credentials)) if index > 0 => (Some(host), credentials),
            _ if index > 0 => continue,
            _ => (None, piece),
        };
        if let Some(host) = host {
            shown.push('@');
            shown.push_str(host);
            shown.push(',');
        }
        match credentials.split_once(':') {
            Some((user, _)) => {
                shown.push_str(user);
                shown.push(':');
                shown.push_str(MASK);
            }
            None => shown.push_str(credentials),
        }
    }
    shown + &rest[end..]
}
