//! What ssh's own words mean. Pure.
//!
//! The texts are OpenSSH's (`sshconnect.c`, `sshconnect2.c`, `ssh.c`, `kex.c`, `clientloop.c`);
//! they are not translated, but the part that comes from `strerror` may be, hence `LC_ALL=C`.

use super::Target;
use super::wrapper::last_line;
use crate::error::HostError;

/// Why ssh gave up connecting to `target`, from everything it wrote.
pub fn classify(log: &str, target: &Target) -> HostError {
    let (address, port) = (target.address.clone(), target.port.unwrap_or(22));
    if log.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        return HostError::HostKeyChanged { address, port };
    }
    // The reason is in the last words; a banner or a jump host's remark may come before.
    for line in log.lines().rev().map(str::trim) {
        if line.contains("Host key verification failed") {
            return HostError::HostKeyUnknown { address, port };
        }
        if line.contains("Permission denied (") || line.contains("Too many authentication failures") {
            return HostError::Authentication { user: target.user.clone().unwrap_or_default() };
        }
        if let Some((_, rest)) = line.split_once("Could not resolve hostname ") {
            let name = rest.rsplit_once(": ").map_or(rest, |(name, _)| name);
            return HostError::NameNotResolved { address: name.to_owned() };
        }
        if line.ends_with("Connection refused") {
            let (address, port) = tried(line).unwrap_or((address, port));
            return HostError::Refused { address, port };
        }
        if line.ends_with("timed out") || line.contains("timed out during banner exchange") {
            let address = tried(line).map_or(address, |(address, _)| address);
            return HostError::ConnectTimeout { address, seconds: target.connect_timeout.as_secs() };
        }
        let cut = ["Connection closed by", "Connection reset by", "closed by remote host", "not responding"];
        if cut.iter().any(|words| line.contains(words)) {
            return HostError::Disconnected { doing: "logging in".to_owned() };
        }
    }
    HostError::Ssh { message: last_line(log).to_owned() }
}

/// Address and port in `connect to [host|address] A port N: …`, of ssh or of its jump.
fn tried(line: &str) -> Option<(String, u16)> {
    let (_, rest) = line.split_once("connect to ")?;
    let rest = rest.strip_prefix("host ").or_else(|| rest.strip_prefix("address ")).unwrap_or(rest);
    let (address, rest) = rest.split_once(" port ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((address.to_owned(), rest[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Flags;
    use indexmap::IndexMap;

    #[test]
    fn ssh_is_understood() {
        let vars = IndexMap::from([
            ("ansible_host".to_owned(), "c1".into()),
            ("ansible_user".to_owned(), "ops".into()),
        ]);
        let target = Target::from_vars("ctl1", &vars, &Flags::default()).unwrap();
        let address = || "c1".to_owned();
        let check = |log: &str, expected: HostError| assert_eq!(classify(log, &target), expected, "{log}");
        let cut = || HostError::Disconnected { doing: "logging in".to_owned() };
        for name in ["Name or service not known", "Temporary failure in name resolution"] {
            check(
                &format!("ssh: Could not resolve hostname c1.example: {name}\r\n"),
                HostError::NameNotResolved { address: "c1.example".into() },
            );
        }
        check(
            "ssh: connect to host 127.0.0.1 port 2222: Connection refused\r\n",
            HostError::Refused { address: "127.0.0.1".into(), port: 2222 },
        );
        check(
            "ssh: connect to host ::1 port 22: Connection refused\n",
            HostError::Refused { address: "::1".into(), port: 22 },
        );
        // The jump host is the one that refused; ssh's own last words are about its pipe.
        check(
            "ssh: connect to host jump port 22: Connection refused\nkex_exchange_identification: banner line contains invalid characters\n",
            HostError::Refused { address: "jump".into(), port: 22 },
        );
        check(
            "ssh: connect to host 10.0.0.9 port 22: Connection timed out\n",
            HostError::ConnectTimeout { address: "10.0.0.9".into(), seconds: 10 },
        );
        for log in [
            "Connection timed out during banner exchange\nConnection to 127.0.0.1 port 39461 timed out\n",
            "Connection timed out during banner exchange\n",
        ] {
            check(log, HostError::ConnectTimeout { address: address(), seconds: 10 });
        }
        check(
            "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\nHost key verification failed.\n",
            HostError::HostKeyUnknown { address: address(), port: 22 },
        );
        check("Host key verification failed.\n", HostError::HostKeyUnknown { address: address(), port: 22 });
        check(
            "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@\nHost key verification failed.\n",
            HostError::HostKeyChanged { address: address(), port: 22 },
        );
        for log in [
            "ops@c1: Permission denied (publickey).\n",
            "Authorised users only: Connection refused to others\n\nops@c1: Permission denied (publickey,password).\n",
            "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures\nDisconnected from 10.0.0.1 port 22\n",
        ] {
            check(log, HostError::Authentication { user: "ops".into() });
        }
        for log in [
            "kex_exchange_identification: Connection closed by remote host\nConnection closed by 127.0.0.1 port 22\n",
            "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 127.0.0.1 port 22\n",
            "Timeout, server c1 not responding.\n",
        ] {
            check(log, cut());
        }
        for (log, message) in [
            (
                "ssh: connect to host c1 port 22: No route to host\n",
                "ssh: connect to host c1 port 22: No route to host",
            ),
            (
                "command-line: line 0: Bad configuration option: foo\n",
                "command-line: line 0: Bad configuration option: foo",
            ),
            ("", "it said nothing"),
        ] {
            check(log, HostError::Ssh { message: message.to_owned() });
        }
    }
}
