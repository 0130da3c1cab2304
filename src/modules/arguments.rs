//! Reading a task's arguments: types as Ansible coerces them, errors with their place.

use serde_json::Value;

use super::{Arguments, Rendered};
use crate::error::{Diagnostic, Result};

impl Arguments {
    /// An error about the argument `name`, placed at it, or at the module where it is missing.
    pub fn error(&self, name: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message).at(self.places.get(name).unwrap_or(&self.place).clone())
    }

    /// An argument's value; `null` counts as not given.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// A text; numbers and booleans are taken as they are written.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        self.get(name).map(|value| self.scalar(name, value)).transpose()
    }

    /// A text that must be given and not be empty.
    pub fn required(&self, name: &str) -> Result<String> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(self.error(name, format!("`{name}` is empty"))),
            None => Err(self.error(name, format!("`{name}` is missing"))),
        }
    }

    /// The text of the task: the template `src`, or what `content` gives under that name.
    pub fn source(&self) -> Result<Rendered> {
        match (&self.src, self.text("content")?) {
            (Some(rendered), None) => Ok(rendered.clone()),
            (None, Some(text)) => Ok(Rendered { name: "content".to_owned(), text }),
            (None, None) => Err(self.error("src", "`src` or `content` is missing")),
            (Some(_), Some(_)) => Err(self.error("content", "`src` and `content` exclude each other")),
        }
    }

    /// A boolean, in any of Ansible's spellings.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = self.scalar(name, value)?;
        match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "y" | "t" => Ok(Some(true)),
            "false" | "no" | "off" | "0" | "n" | "f" => Ok(Some(false)),
            _ => Err(self.error(name, format!("`{text}` is not a boolean")).hint("use `true` or `false`")),
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number = text.trim().parse();
        number.map(Some).map_err(|_| self.error(name, format!("`{text}` is not a whole number")))
    }

    /// A number of seconds, not negative.
    pub fn seconds(&self, name: &str) -> Result<Option<f64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.trim().parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(Some(seconds)),
            _ => Err(self.error(name, format!("`{text}` is not a number of seconds"))),
        }
    }

    /// A list of texts; one text counts as a list of one, and commas separate as in Ansible.
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                items.iter().map(|item| self.scalar(name, item)).collect::<Result<_>>().map(Some)
            }
            Some(value) => {
                let text = self.scalar(name, value)?;
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Some(items.map(str::to_owned).collect()))
            }
        }
    }

    /// A command: a list of words, or a text split as a shell splits it, without a shell's expansions.
    pub fn words(&self, name: &str) -> Result<Option<Vec<String>>> {
        let words = match self.get(name) {
            None => return Ok(None),
            Some(Value::Array(items)) => {
                items.iter().map(|item| self.scalar(name, item)).collect::<Result<Vec<_>>>()?
            }
            Some(value) => {
                let text = self.scalar(name, value)?;
                shlex::split(&text)
                    .ok_or_else(|| self.error(name, format!("`{text}` has an unfinished quote")))?
            }
        };
        if words.is_empty() {
            return Err(self.error(name, format!("`{name}` is empty")));
        }
        Ok(Some(words))
    }

    /// An absolute path on the host.
    pub fn path(&self, name: &str) -> Result<Option<String>> {
        let Some(path) = self.text(name)? else { return Ok(None) };
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(self.error(name, format!("`{path}` is not an absolute path without `..`")));
        }
        Ok(Some(path))
    }

    /// Permission bits as Ansible reads them: octal digits in a text, or a number that YAML already read
    /// as octal (`0644` is 420). A decimal `644` or `400` is the mistake Ansible warns of, and an error here.
    pub fn mode(&self, name: &str) -> Result<Option<u32>> {
        let bad = |text: &str| {
            self.error(name, format!("`{text}` is not a file mode"))
                .hint("write it as a text: mode: \"0644\"")
        };
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => match number.as_u64().and_then(|mode| u32::try_from(mode).ok()) {
                Some(mode) if mode <= 0o777 && ![400, 440, 444, 500].contains(&mode) => Ok(Some(mode)),
                _ => Err(bad(&number.to_string())),
            },
            Some(value) => {
                let text = self.scalar(name, value)?;
                let digits = text.strip_prefix("0o").unwrap_or(&text);
                match u32::from_str_radix(digits, 8) {
                    Ok(mode) if mode <= 0o7777 && digits.len() >= 3 => Ok(Some(mode)),
                    _ => Err(bad(&text)),
                }
            }
        }
    }

    fn scalar(&self, name: &str, value: &Value) -> Result<String> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(flag) => Ok(flag.to_string()),
            Value::Null => Ok(String::new()),
            Value::Array(_) => Err(self.error(name, format!("`{name}` is a list, and one value is wanted"))),
            Value::Object(_) => {
                Err(self.error(name, format!("`{name}` is a mapping, and one value is wanted")))
            }
        }
    }
}
