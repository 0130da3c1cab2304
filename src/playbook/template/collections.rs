//! Ansible's filters on lists and mappings.

#![expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over by value")]

use minijinja::Error;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use serde_json::{Map, Value as Json};

use super::python::{defined, from_json, invalid, json, str_of};

pub(super) fn extract(key: &Value, container: &Value, more: Option<Value>) -> Result<Value, Error> {
    let mut found = container.get_item(defined(key)?)?;
    let more = more.unwrap_or_else(|| Value::from(Vec::<Value>::new()));
    let keys: Vec<Value> =
        if more.kind() == ValueKind::Seq { more.try_iter()?.collect() } else { vec![more] };
    for key in keys {
        found = found.get_item(&key)?;
    }
    Ok(found)
}

fn list(value: &Value) -> Result<Vec<Json>, Error> {
    match json(value)? {
        Json::Array(items) => Ok(items),
        Json::Object(map) => Ok(map.into_iter().map(|(key, _)| Json::String(key)).collect()),
        Json::String(text) => Ok(text.chars().map(|c| Json::String(c.to_string())).collect()),
        _ => Err(invalid("a list is wanted")),
    }
}

/// A set operation. Ansible's have no order; here the first occurrence decides.
pub(super) fn sets(
    a: &Value,
    b: &Value,
    join: impl Fn(Vec<Json>, Vec<Json>) -> Vec<Json>,
) -> Result<Value, Error> {
    let mut once: Vec<Json> = Vec::new();
    for item in join(list(a)?, list(b)?) {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    Ok(from_json(&Json::Array(once)))
}

pub(super) fn only(a: Vec<Json>, b: &[Json]) -> Vec<Json> {
    a.into_iter().filter(|item| !b.contains(item)).collect()
}

pub(super) fn flatten(value: &Value, levels: Option<usize>, kwargs: Kwargs) -> Result<Value, Error> {
    let levels = kwargs.get::<Option<usize>>("levels")?.or(levels);
    let skip_nulls = kwargs.get::<Option<bool>>("skip_nulls")?.unwrap_or(true);
    kwargs.assert_all_used()?;
    let mut flat = Vec::new();
    flatten_into(list(value)?, levels, skip_nulls, &mut flat);
    Ok(from_json(&Json::Array(flat)))
}

fn flatten_into(items: Vec<Json>, levels: Option<usize>, skip_nulls: bool, flat: &mut Vec<Json>) {
    for item in items {
        match item {
            Json::Null if skip_nulls => {}
            Json::String(text) if skip_nulls && (text == "None" || text == "null") => {}
            Json::Array(inner) if levels != Some(0) => {
                flatten_into(inner, levels.map(|levels| levels - 1), skip_nulls, flat);
            }
            other => flat.push(other),
        }
    }
}

pub(super) fn dict2items(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let (key_name, value_name) = item_names(&kwargs)?;
    let Json::Object(map) = json(value)? else { return Err(invalid("`dict2items` wants a mapping")) };
    let items = map.into_iter().map(|(key, value)| {
        Json::Object(Map::from_iter([(key_name.clone(), Json::String(key)), (value_name.clone(), value)]))
    });
    Ok(from_json(&items.collect()))
}

pub(super) fn items2dict(value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    let (key_name, value_name) = item_names(&kwargs)?;
    let mut map = Map::new();
    for item in list(value)? {
        let (Some(key), Some(value)) = (item.get(&key_name), item.get(&value_name)) else {
            return Err(invalid(format!("`items2dict` wants mappings with `{key_name}` and `{value_name}`")));
        };
        map.insert(str_of(&from_json(key)), value.clone());
    }
    Ok(from_json(&Json::Object(map)))
}

fn item_names(kwargs: &Kwargs) -> Result<(String, String), Error> {
    let key = kwargs.get::<Option<String>>("key_name")?.unwrap_or_else(|| "key".to_owned());
    let value = kwargs.get::<Option<String>>("value_name")?.unwrap_or_else(|| "value".to_owned());
    kwargs.assert_all_used()?;
    Ok((key, value))
}

pub(super) fn combine(value: &Value, others: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let recursive = kwargs.get::<Option<bool>>("recursive")?.unwrap_or(false);
    let list_merge = kwargs.get::<Option<String>>("list_merge")?.unwrap_or_else(|| "replace".to_owned());
    kwargs.assert_all_used()?;
    if !["replace", "keep", "append", "prepend", "append_rp", "prepend_rp"].contains(&list_merge.as_str()) {
        return Err(invalid(format!("`combine` has no list_merge `{list_merge}`")));
    }
    let mut result = Map::new();
    for term in std::iter::once(value).chain(others.iter()) {
        let term = json(term)?;
        for map in term.as_array().cloned().unwrap_or_else(|| vec![term]) {
            let Json::Object(map) = map else { return Err(invalid("`combine` wants mappings")) };
            merge(&mut result, map, recursive, &list_merge);
        }
    }
    Ok(from_json(&Json::Object(result)))
}

/// Puts `over` over `under`, as Ansible's `merge_hash` does.
fn merge(under: &mut Map<String, Json>, over: Map<String, Json>, recursive: bool, list_merge: &str) {
    for (key, new) in over {
        match (under.get_mut(&key), new) {
            (Some(Json::Object(old)), Json::Object(new)) if recursive => merge(old, new, true, list_merge),
            (Some(Json::Array(old)), Json::Array(new)) => {
                let merged: Vec<Json> = match list_merge {
                    "keep" => continue,
                    "append" => old.iter().cloned().chain(new).collect(),
                    "prepend" => new.into_iter().chain(old.iter().cloned()).collect(),
                    "append_rp" => only(old.clone(), &new).into_iter().chain(new).collect(),
                    "prepend_rp" => {
                        let kept = only(old.clone(), &new);
                        new.into_iter().chain(kept).collect()
                    }
                    _ => new,
                };
                *old = merged;
            }
            (_, new) => {
                under.insert(key, new);
            }
        }
    }
}
