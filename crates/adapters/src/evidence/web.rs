//! A web endpoint that answers JSON.

use bytes::Bytes;
use tidegate_core::model::Timestamp;

use super::{
    answer::{Answer, Data, Sample, json_value, kind_of},
    fault::{Fault, FaultKind, not_json, words},
    http::{Ask, Client, Endpoint},
    json_path::JsonPath,
};

/// How it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET, without a body.
    #[default]
    Get,
    /// POST with a body of JSON.
    Post(String),
}

/// A web endpoint and where its number lies.
#[derive(Debug)]
pub struct Web {
    client: Client,
    method: Method,
    path: JsonPath,
}

impl Web {
    /// The endpoint at this full address, and the path to the value in its answer. Connects to nobody yet.
    pub fn new(endpoint: Endpoint, method: Method, path: JsonPath) -> Result<Self, Fault> {
        Ok(Self { client: Client::new("the endpoint", endpoint)?, method, path })
    }

    /// How messages name it.
    pub fn name(&self) -> &str {
        self.client.name()
    }

    /// Asks, and gives the value at the path: a JSON value of any kind but null. It is dated `at`, the moment of asking.
    pub async fn read(&self, at: Timestamp) -> Result<Answer, Fault> {
        let (method, body) = match &self.method {
            Method::Get => (hyper::Method::GET, None),
            Method::Post(body) => {
                (hyper::Method::POST, Some(("application/json", Bytes::from(body.clone()))))
            }
        };
        let query = self.path.to_string();
        let ask = Ask { method, path: String::new(), accept: "application/json", body };
        let got = self.client.send(&query, ask).await?;
        let found = match got.refused() {
            Some(refused) => Err(refused),
            None if got.is_html() => Err(FaultKind::Html),
            None => json(&got.body).and_then(|value| self.value(&value)),
        };
        let value = found.map_err(|kind| self.client.fault(&query, kind))?;
        Ok(Answer::plain(Data::Json(value, at)))
    }

    /// As [`Self::read`], where the value must be a number.
    pub async fn one(&self, at: Timestamp) -> Result<Sample, Fault> {
        let answer = self.read(at).await?;
        answer.single().map_err(|kind| self.client.fault(&self.path.to_string(), kind))
    }

    fn value(&self, whole: &serde_json::Value) -> Result<serde_json::Value, FaultKind> {
        match self.path.find(whole) {
            None => Err(FaultKind::WrongShape(format!("{} with nothing at {}", kind_of(whole), self.path))),
            Some(value) => json_value(value),
        }
    }
}

/// JSON without the same member twice at one place: which of both counts nobody knows.
pub(super) fn json(body: &[u8]) -> Result<serde_json::Value, FaultKind> {
    serde_json::from_slice::<Strict>(body).map(|strict| strict.0).map_err(|why| not_json(&why, body))
}

struct Strict(serde_json::Value);

impl<'de> serde::Deserialize<'de> for Strict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> serde::de::Visitor<'de> for StrictVisitor {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Strict(element)) = elements.next_element()? {
            all.push(element);
        }
        Ok(all.into())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut all = serde_json::Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if all.insert(name.clone(), value).is_some() {
                return Err(serde::de::Error::custom(format!(
                    "the member `{}` is given twice",
                    words(&name)
                )));
            }
        }
        Ok(all.into())
    }
}
