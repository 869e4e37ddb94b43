//! Reading properties strictly: what nobody asked for is refused by name.

use serde_json::{Map, Value};

use super::TemplateError;
use super::intrinsic::text_of;

/// Properties of a resource, or an object inside them, that are still to be read.
#[derive(Debug, Clone)]
pub(super) struct Properties {
    place: String,
    left: Map<String, Value>,
}

impl Properties {
    pub(super) fn new(place: &str, value: Value) -> Result<Properties, TemplateError> {
        match value {
            Value::Object(left) => Ok(Properties {
                place: place.to_owned(),
                left,
            }),
            Value::Null => Ok(Properties {
                place: place.to_owned(),
                left: Map::new(),
            }),
            _ => Err(refuse(place, "should be an object")),
        }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn refuse(&self, why: &str) -> TemplateError {
        refuse(&self.place, why)
    }

    /// Takes a property as it is.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name)
    }

    /// Skips properties that mean nothing on a laptop.
    pub(super) fn skip(&mut self, names: &[&str]) {
        for name in names {
            self.left.remove(*name);
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, TemplateError> {
        self.read(name, "a text", text_of)
    }

    pub(super) fn required_text(&mut self, name: &str) -> Result<String, TemplateError> {
        self.text(name)?
            .ok_or_else(|| self.refuse(&format!("{name} is missing")))
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, TemplateError> {
        self.read(name, "a number", |value| text_of(value)?.parse().ok())
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, TemplateError> {
        self.read(name, "true or false", |value| text_of(value)?.parse().ok())
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, TemplateError> {
        Ok(self
            .read(name, "a list", |value| value.as_array().cloned())?
            .unwrap_or_default())
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, TemplateError> {
        let read = self.read(name, "a list of texts", |value| match value {
            Value::Array(items) => items.iter().map(text_of).collect(),
            single => text_of(single).map(|text| vec![text]),
        })?;
        Ok(read.unwrap_or_default())
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Properties>, TemplateError> {
        let place = format!("{}.{name}", self.place);
        self.take(name).map(|value| Properties::new(&place, value)).transpose()
    }

    /// Every property that is left, as an object of its own.
    pub(super) fn objects(self) -> Result<Vec<(String, Properties)>, TemplateError> {
        let place = self.place;
        self.left
            .into_iter()
            .map(|(name, value)| Ok((name.clone(), Properties::new(&format!("{place}.{name}"), value)?)))
            .collect()
    }

    /// Every property that is left, as a text.
    pub(super) fn all_texts(self) -> Result<Vec<(String, String)>, TemplateError> {
        let place = self.place;
        self.left
            .into_iter()
            .map(|(name, value)| {
                let text = text_of(&value).ok_or_else(|| refuse(&format!("{place}.{name}"), "should be a text"))?;
                Ok((name, text))
            })
            .collect()
    }

    /// Refuses what was not read.
    pub(super) fn finish(self) -> Result<(), TemplateError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(refuse(&self.place, &format!("the property {name} is not understood"))),
        }
    }

    fn read<T>(
        &mut self,
        name: &str,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, TemplateError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match read(&value) {
                Some(value) => Ok(Some(value)),
                None => Err(refuse(&format!("{}.{name}", self.place), &format!("should be {what}"))),
            },
        }
    }
}

fn refuse(place: &str, why: &str) -> TemplateError {
    TemplateError::Refused {
        place: place.to_owned(),
        why: why.to_owned(),
    }
}
