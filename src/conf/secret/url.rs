//! Passwords in URLs.

use super::{MASK, is_secret_key};

/// `text`, a whole value, with the password of every user of its URL masked: hosts, users, and options that
/// are no secrets stay. `rabbit://u:***@h1:5672,u:***@h2:5672/vhost?heartbeat_rate=3`
///
/// A password may hold characters that it ought to escape, so everything up to the last `@` is suspect.
pub fn mask_url(text: &str) -> String {
    let Some(at) = text.find("://") else { return text.to_owned() };
    let (scheme, rest) = text.split_at(at + 3);
    let (authority, tail) = match rest.rfind('@') {
        Some(last) => (credentials(&rest[..last]), &rest[last..]),
        None => (String::new(), rest),
    };
    format!("{scheme}{authority}{}", options(tail))
}

/// What stands before the last `@`: `user:password`, and `@host,user:password` again for each further host.
fn credentials(text: &str) -> String {
    let mut shown = String::new();
    for (index, piece) in text.split('@').enumerate() {
        if index == 0 {
            shown.push_str(&mask_password(piece).unwrap_or_else(|| piece.to_owned()));
        } else if let Some((host, user)) = piece.split_once(',')
            && let Some(user) = mask_password(user)
        {
            shown.extend(["@", host, ",", &user]);
        }
        // Else this `@` is part of a password, which is masked already.
    }
    shown
}

/// `user:***`; `None` without a password.
fn mask_password(credentials: &str) -> Option<String> {
    credentials.split_once(':').map(|(user, _)| format!("{user}:{MASK}"))
}

/// Options of the query whose names are secret, as in `?password=x`.
fn options(tail: &str) -> String {
    let Some((before, query)) = tail.split_once('?') else { return tail.to_owned() };
    let mask = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if is_secret_key(name) && !value.is_empty() => {
            let end = value.find(['"', '\'', ' ', '\t', '\n']).unwrap_or(value.len());
            format!("{name}={MASK}{}", &value[end..])
        }
        _ => pair.to_owned(),
    };
    format!("{before}?{}", query.split('&').map(mask).collect::<Vec<_>>().join("&"))
}
