//! `transport_url` as oslo.messaging splits it (`oslo_messaging/transport.py`, `TransportURL.parse`).

use std::collections::BTreeMap;
use std::fmt;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One broker of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportHost {
    /// Name or address, `[]` of IPv6 removed; empty when the URL names none.
    pub host: String,
    /// Port; 5672 for `rabbit` when `None`.
    pub port: Option<u16>,
    /// User, percent-decoded.
    pub user: Option<String>,
    /// Password, percent-decoded.
    pub password: Option<Secret>,
}

/// A URL that names brokers: `rabbit://user:password@host:5672,…/vhost?option=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportUrl {
    /// Driver: `rabbit`, `kafka`, `fake` …
    pub scheme: String,
    /// The brokers in the order given; oslo.messaging shuffles them a connection.
    pub hosts: Vec<TransportHost>,
    /// What follows the first `/`, percent-decoded; `None` without a `/`, empty with nothing after it.
    pub virtual_host: Option<String>,
    /// Query options. Since 5.18.0 they override `[oslo_messaging_rabbit]`, and an unknown one is an error.
    pub query: BTreeMap<String, String>,
}

impl TransportUrl {
    /// Reads `text`, already substituted. Errors say what is wrong without the text itself, which holds
    /// passwords.
    pub fn parse(text: &str) -> Result<Self, String> {
        // urllib drops these before it looks at anything.
        let text: String =
            text.trim_start_matches(|c| c <= ' ').chars().filter(|c| !"\t\r\n".contains(*c)).collect();
        let (scheme, rest) = split_scheme(&text).ok_or("the URL has no scheme such as `rabbit:`")?;
        let (netloc, rest) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        if netloc.contains('[') != netloc.contains(']') {
            return Err("the URL has an unmatched bracket".into());
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let hosts = netloc.split(',').filter(|host| !host.is_empty()).map(host).collect::<Result<_, _>>()?;
        Ok(Self {
            scheme: scheme.to_lowercase(),
            hosts,
            virtual_host: path.strip_prefix('/').map(unquote),
            query: query_options(query),
        })
    }
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let first = scheme.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let plain = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    (first && plain).then_some((scheme, rest))
}

fn host(text: &str) -> Result<TransportHost, String> {
    let (credentials, address) = match text.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, text),
    };
    let (user, password) = match credentials.map(|both| both.split_once(':').ok_or(both)) {
        None => (None, None),
        Some(Ok((user, password))) => (Some(unquote(user)), Some(Secret(unquote(password)))),
        Some(Err(user)) => (Some(unquote(user)), None),
    };
    // oslo_utils.netutils.parse_host_port
    let (host, port) = if let Some(inner) = address.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or("the URL has an unmatched bracket")?;
        (host, after.split_once(':').map(|(_, port)| port))
    } else if address.matches(':').count() == 1 {
        address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)))
    } else {
        (address, None)
    };
    let port =
        port.map(|port| port.parse().map_err(|_| format!("the port of host `{host}` is not a number")));
    Ok(TransportHost { host: host.to_owned(), port: port.transpose()?, user, password })
}

/// `urllib.parse.parse_qs`, values of a repeated key joined by commas; a key without a value is dropped.
fn query_options(query: &str) -> BTreeMap<String, String> {
    let mut options: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if value.is_empty() {
            continue;
        }
        let (key, value) = (unquote(&key.replace('+', " ")), unquote(&value.replace('+', " ")));
        options
            .entry(key)
            .and_modify(|have| {
                have.push(',');
                have.push_str(&value);
            })
            .or_insert(value);
    }
    options
}

/// Percent-decoding; what is no escape stays, bytes that are not UTF-8 become U+FFFD as in Python.
fn unquote(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let byte = pair.and_then(|pair| hex::decode(pair).ok()).map(|byte| byte[0]);
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
