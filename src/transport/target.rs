//! What one host's variables and the command line say about reaching it. Pure.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use secrecy::SecretString;
use serde_json::Value;

use super::wrapper::Become;
use crate::error::{Diagnostic, Result};

/// The connect timeout when nothing says otherwise (Ansible's `DEFAULT_TIMEOUT`).
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one command may take when neither it nor the target says otherwise.
pub const COMMAND_DEADLINE: Duration = Duration::from_mins(2);

/// The command line's share: what holds for hosts whose variables are silent.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `-u`, `--user`.
    pub user: Option<String>,
    /// What was typed after `-k`.
    pub password: Option<SecretString>,
    /// `-b`, `--become`.
    pub r#become: bool,
    /// `--become-user`.
    pub become_user: Option<String>,
    /// `--become-method`.
    pub become_method: Option<String>,
    /// What was typed after `-K`.
    pub become_password: Option<SecretString>,
    /// `--private-key`.
    pub private_key: Option<String>,
    /// `-c`, `--connection`.
    pub connection: Option<String>,
    /// `--ssh-common-args`.
    pub ssh_common_args: Option<String>,
    /// `--ssh-extra-args`.
    pub ssh_extra_args: Option<String>,
    /// `-T`, `--timeout`: seconds to connect.
    pub timeout: Option<u64>,
    /// `ANSIBLE_HOST_KEY_CHECKING`.
    pub host_key_checking: Option<bool>,
    /// How long one command may take.
    pub deadline: Option<Duration>,
}

/// By which way a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// The user's own `ssh`.
    Ssh,
    /// This machine, without ssh.
    Local,
}

/// Everything needed to reach one host.
///
/// Secrets are [`SecretString`]s, so `Debug` does not show them.
#[derive(Debug, Clone)]
pub struct Target {
    /// The inventory's name.
    pub name: String,
    /// ssh, or none.
    pub connection: Connection,
    /// What ssh is given as its destination: a name, an address, or an alias of `ssh_config`.
    pub address: String,
    /// TCP port; ssh's own choice when `None`.
    pub port: Option<u16>,
    /// Login user; ssh's own choice when `None`.
    pub user: Option<String>,
    /// Identity file.
    pub private_key: Option<String>,
    /// Login password.
    pub password: Option<SecretString>,
    /// Passphrase of the identity file.
    pub passphrase: Option<SecretString>,
    /// `ansible_ssh_args`, `ansible_ssh_common_args` and `ansible_ssh_extra_args`, as words, in the
    /// order in which Ansible hands them over: those before its own options, and those after.
    pub ssh_args: (Vec<String>, Vec<String>),
    /// False: an unknown host key is accepted.
    pub host_key_checking: bool,
    /// For connect and banner, each address.
    pub connect_timeout: Duration,
    /// For one command.
    pub deadline: Duration,
    /// `ansible_become`, which beats the play.
    pub become_var: Option<bool>,
    /// `-b`, which a play beats.
    pub become_flag: bool,
    /// Whom sudo is asked for.
    pub become_user: String,
    /// `ansible_become_exe`: which sudo.
    pub become_exe: String,
    /// `ansible_become_flags` without those that say how the password is asked for.
    pub become_flags: Vec<String>,
    /// What sudo is told when it asks.
    pub become_password: Option<SecretString>,
    /// `trueup_root`: a directory that stands for `/` on the host, for tests and images.
    pub root: Option<PathBuf>,
}

impl Target {
    /// The target of host `name` with these variables, already rendered.
    ///
    /// Precedence is Ansible's: a variable beats the command line, and among several names of one
    /// setting the last of its documented list wins (ansible-core `config/manager.py`,
    /// `get_config_value_and_origin` and `_loop_entries`).
    pub fn from_vars(name: &str, vars: &IndexMap<String, Value>, flags: &Flags) -> Result<Self> {
        let vars = Reader { name, vars };
        let connection = match vars.text(&["ansible_connection"])?.or(flags.connection.clone()) {
            None => Connection::Ssh,
            Some(plugin) => match plugin.strip_prefix("ansible.builtin.").unwrap_or(&plugin) {
                "ssh" | "smart" | "paramiko" | "paramiko_ssh" => Connection::Ssh,
                "local" => Connection::Local,
                other => {
                    return Err(vars
                        .bad("ansible_connection", &format!("`{plugin}` is not supported"))
                        .suggest(other, ["ssh", "local"]));
                }
            },
        };
        let method = vars.text(&["ansible_become_method"])?.or(flags.become_method.clone());
        if let Some(method) = method
            && method.strip_prefix("ansible.builtin.").unwrap_or(&method) != "sudo"
        {
            return Err(vars
                .bad("ansible_become_method", &format!("`{method}` is not supported"))
                .hint("only `sudo` is"));
        }
        let address = vars.word(&["ansible_host", "ansible_ssh_host"])?.unwrap_or_else(|| name.to_owned());
        let address = match address.strip_prefix('[').and_then(|a| a.strip_suffix(']')) {
            Some(ipv6) => ipv6.to_owned(),
            None => address,
        };
        let timeout = vars.number(&["ansible_timeout", "ansible_ssh_timeout"], 1, 86_400)?.or(flags.timeout);
        let common = vars.words(&["ansible_ssh_common_args"], flags.ssh_common_args.as_deref())?;
        let extra = vars.words(&["ansible_ssh_extra_args"], flags.ssh_extra_args.as_deref())?;
        Ok(Self {
            name: name.to_owned(),
            connection,
            address,
            port: vars
                .number(&["ansible_port", "ansible_ssh_port"], 1, u64::from(u16::MAX))?
                .and_then(|port| u16::try_from(port).ok()),
            user: vars.word(&["ansible_user", "ansible_ssh_user"])?.or(flags.user.clone()),
            private_key: vars
                .path(&["ansible_private_key_file", "ansible_ssh_private_key_file"])?
                .or(flags.private_key.clone()),
            password: vars
                .secret(&["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"])?
                .or(flags.password.clone()),
            passphrase: vars
                .secret(&["ansible_private_key_passphrase", "ansible_ssh_private_key_passphrase"])?,
            ssh_args: (vars.words(&["ansible_ssh_args"], None)?, common.into_iter().chain(extra).collect()),
            host_key_checking: vars
                .flag(&["ansible_host_key_checking", "ansible_ssh_host_key_checking"])?
                .or(flags.host_key_checking)
                .unwrap_or(true),
            connect_timeout: timeout.map_or(CONNECT_TIMEOUT, Duration::from_secs),
            deadline: flags.deadline.unwrap_or(COMMAND_DEADLINE),
            become_var: vars.flag(&["ansible_become"])?,
            become_flag: flags.r#become,
            become_user: vars
                .word(&["ansible_become_user", "ansible_sudo_user"])?
                .or(flags.become_user.clone())
                .unwrap_or_else(|| "root".to_owned()),
            become_exe: vars
                .word(&["ansible_become_exe", "ansible_sudo_exe"])?
                .unwrap_or_else(|| "sudo".to_owned()),
            become_flags: vars
                .words(&["ansible_become_flags", "ansible_sudo_flags"], Some("-H"))?
                .into_iter()
                .filter(|flag| !asks(flag))
                .map(|flag| if is_short(&flag) { flag.replace(['n', 'S'], "") } else { flag })
                .collect(),
            become_password: vars
                .secret(&["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"])?
                .or(flags.become_password.clone()),
            root: vars.text(&["trueup_root"])?.map(PathBuf::from),
        })
    }

    /// Whether a command of a play with `become: keyword` runs by sudo here: `ansible_become`
    /// beats the play, the play beats `-b`.
    pub fn becomes(&self, keyword: Option<bool>) -> bool {
        self.become_var.or(keyword).unwrap_or(self.become_flag)
    }

    /// How a command becomes another user here.
    pub(super) fn sudo(&self) -> Become {
        Become {
            exe: self.become_exe.clone(),
            flags: self.become_flags.clone(),
            user: self.become_user.clone(),
            password: self.become_password.clone(),
        }
    }
}

/// A group of one-letter flags, as sudo's `-nH`.
fn is_short(flag: &str) -> bool {
    flag.starts_with('-') && !flag.starts_with("--")
}

/// Flags of sudo that say how it asks for the password: ours to choose.
fn asks(flag: &str) -> bool {
    ["--non-interactive", "--stdin"].contains(&flag)
        || (is_short(flag) && flag.len() > 1 && flag[1..].chars().all(|c| "nS".contains(c)))
}

/// One host's variables, by whose mistakes it names host and variable.
struct Reader<'a> {
    name: &'a str,
    vars: &'a IndexMap<String, Value>,
}

impl<'a> Reader<'a> {
    /// The last of `names` that is set.
    fn find(&self, names: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        let set = |name: &&'static str| self.vars.get(*name).filter(|value| !value.is_null());
        names.iter().rev().find_map(|name| set(name).map(|value| (*name, value)))
    }

    fn bad(&self, variable: &str, why: &str) -> Diagnostic {
        Diagnostic::new(format!("`{variable}` of host `{}`: {why}", self.name))
    }

    fn text(&self, names: &[&'static str]) -> Result<Option<String>> {
        match self.find(names) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text.clone())),
            Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
            Some((variable, _)) => Err(self.bad(variable, "a text is expected")),
        }
    }

    /// A text that ssh or sudo cannot take for an option, nor for nothing.
    fn word(&self, names: &[&'static str]) -> Result<Option<String>> {
        let text = self.text(names)?;
        if let Some(text) = &text
            && (text.is_empty()
                || text.starts_with('-')
                || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"'))
        {
            let variable = self.find(names).map_or(names[0], |(variable, _)| variable);
            return Err(self.bad(variable, &format!("`{}` is not a name", text.escape_debug())));
        }
        Ok(text)
    }

    /// A path that can stand between quotes in an option of ssh.
    fn path(&self, names: &[&'static str]) -> Result<Option<String>> {
        match (self.text(names)?, self.find(names)) {
            (Some(path), Some((variable, _))) if path.contains(|c: char| c == '"' || c.is_control()) => {
                Err(self.bad(variable, "a path without quotes and line breaks is expected"))
            }
            (path, _) => Ok(path),
        }
    }

    fn secret(&self, names: &[&'static str]) -> Result<Option<SecretString>> {
        Ok(self.text(names)?.map(SecretString::from))
    }

    fn number(&self, names: &[&'static str], least: u64, most: u64) -> Result<Option<u64>> {
        let Some((variable, value)) = self.find(names) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => {
                Err(self
                    .bad(variable, &format!("a number from {least} to {most} is expected, not `{value}`")))
            }
        }
    }

    /// Ansible's booleans (ansible-core `module_utils/parsing/convert_bool.py`).
    fn flag(&self, names: &[&'static str]) -> Result<Option<bool>> {
        let Some((variable, value)) = self.find(names) else { return Ok(None) };
        let text = match value {
            Value::String(text) => text.to_lowercase(),
            other => other.to_string(),
        };
        match text.as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Ok(Some(true)),
            "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Ok(Some(false)),
            _ => Err(self.bad(variable, &format!("yes or no is expected, not `{value}`"))),
        }
    }

    fn words(&self, names: &[&'static str], default: Option<&str>) -> Result<Vec<String>> {
        let text = self.text(names)?;
        let Some(text) = text.as_deref().or(default) else { return Ok(Vec::new()) };
        shlex::split(text).ok_or_else(|| {
            let variable = self.find(names).map_or(names[0], |(variable, _)| variable);
            self.bad(variable, "a quote is not closed")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use serde_json::json;

    fn target(vars: &Value, flags: &Flags) -> Result<Target> {
        let vars = vars.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        Target::from_vars("ctl1", &vars, flags)
    }

    #[track_caller]
    fn check(vars: &Value, show: impl Fn(&Target) -> String, expected: &str) {
        let flags = Flags {
            user: Some("cli".into()),
            password: Some("cli".into()),
            become_password: Some("cli".into()),
            private_key: Some("/cli".into()),
            ssh_common_args: Some("-o A=cli".into()),
            timeout: Some(7),
            ..Flags::default()
        };
        assert_eq!(show(&target(vars, &flags).unwrap()), expected, "{vars}");
    }

    #[test]
    fn variables_beat_the_command_line_and_the_last_name_wins() {
        let opt = |o: &Option<String>| o.clone().unwrap_or_default();
        let secret = |o: &Option<SecretString>| o.as_ref().map_or("", |s| s.expose_secret()).to_owned();
        check(&json!({}), |t| t.address.clone(), "ctl1");
        check(&json!({"ansible_host": "10.0.0.1"}), |t| t.address.clone(), "10.0.0.1");
        check(&json!({"ansible_ssh_host": "b", "ansible_host": "a"}), |t| t.address.clone(), "b");
        check(&json!({"ansible_host": "[fe80::1]"}), |t| t.address.clone(), "fe80::1");
        check(&json!({"ansible_host": null}), |t| t.address.clone(), "ctl1");
        check(&json!({"ansible_port": "2222"}), |t| format!("{:?}", t.port), "Some(2222)");
        check(&json!({"ansible_port": 2222}), |t| format!("{:?}", t.port), "Some(2222)");
        check(&json!({}), |t| opt(&t.user), "cli");
        check(&json!({"ansible_user": "var"}), |t| opt(&t.user), "var");
        check(&json!({}), |t| opt(&t.private_key), "/cli");
        check(&json!({"ansible_ssh_private_key_file": "/var"}), |t| opt(&t.private_key), "/var");
        check(&json!({}), |t| secret(&t.password), "cli");
        check(&json!({"ansible_ssh_pass": "b", "ansible_password": "a"}), |t| secret(&t.password), "b");
        check(&json!({"ansible_password": 1234}), |t| secret(&t.password), "1234");
        check(&json!({"ansible_become_pass": "v"}), |t| secret(&t.become_password), "v");
        check(&json!({}), |t| t.ssh_args.1.join("|"), "-o|A=cli");
        check(
            &json!({"ansible_ssh_common_args": "-o 'ProxyJump=a b'", "ansible_ssh_extra_args": "-4"}),
            |t| t.ssh_args.1.join("|"),
            "-o|ProxyJump=a b|-4",
        );
        check(&json!({"ansible_ssh_args": "-C"}), |t| t.ssh_args.0.join("|"), "-C");
        check(&json!({}), |t| t.connect_timeout.as_secs().to_string(), "7");
        check(&json!({"ansible_timeout": 3}), |t| t.connect_timeout.as_secs().to_string(), "3");
        check(&json!({}), |t| t.host_key_checking.to_string(), "true");
        check(&json!({"ansible_host_key_checking": "no"}), |t| t.host_key_checking.to_string(), "false");
        check(&json!({"ansible_connection": "local"}), |t| format!("{:?}", t.connection), "Local");
        check(&json!({"ansible_connection": "smart"}), |t| format!("{:?}", t.connection), "Ssh");
        check(&json!({}), |t| t.become_user.clone(), "root");
        check(&json!({"ansible_become_user": "ops"}), |t| t.become_user.clone(), "ops");
        check(&json!({}), |t| t.become_flags.join(" "), "-H");
        check(&json!({"ansible_become_flags": "-H -S -n"}), |t| t.become_flags.join(" "), "-H");
        check(&json!({"ansible_become_flags": "-Hn -E --stdin"}), |t| t.become_flags.join(" "), "-H -E");
        check(&json!({"trueup_root": "/srv/a"}), |t| format!("{:?}", t.root), "Some(\"/srv/a\")");
    }

    #[test]
    fn become_is_decided_by_variable_then_play_then_flag() {
        for (var, keyword, flag, expected) in [
            (json!({}), None, false, false),
            (json!({}), None, true, true),
            (json!({}), Some(false), true, false),
            (json!({}), Some(true), false, true),
            (json!({"ansible_become": "no"}), Some(true), true, false),
            (json!({"ansible_become": true}), Some(false), false, true),
        ] {
            let flags = Flags { r#become: flag, ..Flags::default() };
            assert_eq!(target(&var, &flags).unwrap().becomes(keyword), expected, "{var} {keyword:?} {flag}");
        }
    }

    #[test]
    fn a_bad_value_names_host_and_variable() {
        for (vars, expected) in [
            (json!({"ansible_port": 0}), "`ansible_port` of host `ctl1`: a number from 1 to 65535"),
            (json!({"ansible_port": "ssh"}), "`ansible_port` of host `ctl1`: a number"),
            (
                json!({"ansible_host": "-oProxyCommand=id"}),
                "`ansible_host` of host `ctl1`: `-oProxyCommand=id`",
            ),
            (json!({"ansible_host": ""}), "`ansible_host` of host `ctl1`: `` is not a name"),
            (json!({"ansible_user": "a b"}), "`ansible_user` of host `ctl1`"),
            (json!({"ansible_user": ["a"]}), "`ansible_user` of host `ctl1`: a text is expected"),
            (json!({"ansible_connection": "docker"}), "`docker` is not supported"),
            (json!({"ansible_become_method": "su"}), "`su` is not supported"),
            (json!({"ansible_become": "maybe"}), "`ansible_become` of host `ctl1`: yes or no"),
            (json!({"ansible_ssh_common_args": "-o 'a"}), "a quote is not closed"),
            (
                json!({"ansible_private_key_file": "a\" -oX"}),
                "`ansible_private_key_file` of host `ctl1`: a path",
            ),
            (json!({"ansible_timeout": -1}), "`ansible_timeout` of host `ctl1`"),
        ] {
            let error = target(&vars, &Flags::default()).unwrap_err();
            assert!(error.message().contains(expected), "{vars}: {error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let vars = json!({"ansible_password": "hunter2", "ansible_become_password": "hunter2"});
        let target = target(&vars, &Flags::default()).unwrap();
        assert!(!format!("{target:?}").contains("hunter2"));
    }
}
