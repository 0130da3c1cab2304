//! As much of JSON Schema (2020-12) as the published schema uses; an unknown keyword is a failure.

use serde_json::Value;

/// Why `value` is not what `schema` (a whole document) allows; `None`: it is.
pub fn fault(schema: &Value, value: &Value) -> Option<String> {
    check(schema, schema, value, "$")
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let Some(keywords) = schema.as_object() else {
        return (schema == &Value::Bool(false)).then(|| format!("{at}: nothing is allowed here"));
    };
    let faults = |schemas: &Value| -> Vec<Option<String>> {
        schemas.as_array().unwrap().iter().map(|one| check(document, one, value, at)).collect()
    };
    keywords.iter().find_map(|(keyword, rule)| match keyword.as_str() {
        "$ref" => {
            let path = rule.as_str().unwrap().strip_prefix('#').unwrap();
            check(document, document.pointer(path).unwrap(), value, at)
        }
        "type" => {
            let words: Vec<&str> = match rule {
                Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
                word => vec![word.as_str().unwrap()],
            };
            (!words.iter().any(|word| is(word, value))).then(|| format!("{at}: {value} is not {words:?}"))
        }
        "enum" => {
            (!rule.as_array().unwrap().contains(value)).then(|| format!("{at}: {value} is none of {rule}"))
        }
        "const" => (rule != value).then(|| format!("{at}: {value} is not {rule}")),
        "minimum" => {
            (value.as_f64()? < rule.as_f64().unwrap()).then(|| format!("{at}: {value} is below {rule}"))
        }
        "maximum" => {
            (value.as_f64()? > rule.as_f64().unwrap()).then(|| format!("{at}: {value} is above {rule}"))
        }
        "required" => {
            let object = value.as_object()?;
            let missing =
                rule.as_array().unwrap().iter().find(|key| !object.contains_key(key.as_str().unwrap()))?;
            Some(format!("{at}: no {missing}"))
        }
        "properties" => value
            .as_object()?
            .iter()
            .find_map(|(key, inner)| check(document, rule.get(key)?, inner, &format!("{at}.{key}"))),
        "additionalProperties" => value.as_object()?.iter().find_map(|(key, inner)| {
            let known = keywords.get("properties").is_some_and(|known| known.get(key).is_some());
            if known { None } else { check(document, rule, inner, &format!("{at}.{key}")) }
        }),
        "items" => {
            let mut inner = value.as_array()?.iter().enumerate();
            inner.find_map(|(number, inner)| check(document, rule, inner, &format!("{at}[{number}]")))
        }
        "anyOf" => {
            let faults = faults(rule);
            if faults.iter().any(Option::is_none) { None } else { faults.into_iter().next().flatten() }
        }
        "oneOf" => {
            let faults = faults(rule);
            let fit = faults.iter().filter(|fault| fault.is_none()).count();
            (fit != 1).then(|| format!("{at}: {fit} of the forms fit: {faults:?}"))
        }
        "allOf" => faults(rule).into_iter().flatten().next(),
        "$schema" | "$defs" | "title" | "description" | "format" | "default" => None,
        other => Some(format!("{at}: the keyword {other} is not known here")),
    })
}

fn is(word: &str, value: &Value) -> bool {
    match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    }
}
