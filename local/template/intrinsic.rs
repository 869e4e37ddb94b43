//! CloudFormation's intrinsic functions, resolved to plain JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serde_norway::Value as Yaml;

use super::{ACCOUNT, REGION, TemplateError};

/// References that lead to references more often than this lead in a circle.
const DEPTH: usize = 16;

/// A resource before its properties were looked at.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) kind: String,
    pub(super) properties: Yaml,
    pub(super) metadata: Yaml,
}

/// What references may lead to.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) conditions: BTreeMap<String, Yaml>,
    pub(super) mappings: Yaml,
    pub(super) resources: BTreeMap<String, Raw>,
    /// `http://127.0.0.1:PORT`
    pub(super) base_url: String,
}

type Resolved = Result<Option<Value>, TemplateError>;

impl Scope {
    /// The value with every intrinsic replaced; `None` is `AWS::NoValue`. `place` is for the refusal.
    pub(super) fn resolve(&self, place: &str, yaml: &Yaml) -> Resolved {
        self.value(&At { place, depth: 0 }, yaml)
    }

    /// Whether the condition `name` holds.
    pub(super) fn holds(&self, place: &str, name: &str) -> Result<bool, TemplateError> {
        self.condition(&At { place, depth: 0 }, name)
    }

    /// The physical name of a resource: what its own property says, or else its logical id.
    pub(super) fn name_of(&self, place: &str, logical_id: &str) -> Result<String, TemplateError> {
        self.physical_name(&At { place, depth: 0 }, logical_id)
    }

    fn value(&self, at: &At<'_>, yaml: &Yaml) -> Resolved {
        Ok(Some(match yaml {
            Yaml::Null => Value::Null,
            Yaml::Bool(flag) => Value::Bool(*flag),
            Yaml::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Value::from(number),
                (None, Some(number)) => Value::from(number),
                (None, None) => number.as_f64().map_or(Value::Null, Value::from),
            },
            Yaml::String(text) => Value::String(text.clone()),
            Yaml::Sequence(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for item in items {
                    resolved.extend(self.value(at, item)?);
                }
                Value::Array(resolved)
            }
            Yaml::Mapping(mapping) => {
                if let (1, Some((Yaml::String(key), argument))) = (mapping.len(), mapping.iter().next()) {
                    if key == "Ref" || key == "Condition" {
                        return self.intrinsic(at, key, argument);
                    }
                    if let Some(function) = key.strip_prefix("Fn::") {
                        return self.intrinsic(at, function, argument);
                    }
                }
                let mut resolved = Map::new();
                for (key, item) in mapping {
                    let key = scalar(key).ok_or_else(|| at.refuse("a key is not text"))?;
                    if let Some(item) = self.value(at, item)? {
                        resolved.insert(key, item);
                    }
                }
                Value::Object(resolved)
            }
            Yaml::Tagged(tagged) => {
                let tag = tagged.tag.to_string();
                return self.intrinsic(at, tag.trim_start_matches('!'), &tagged.value);
            }
        }))
    }

    fn intrinsic(&self, at: &At<'_>, function: &str, argument: &Yaml) -> Resolved {
        let at = &at.deeper()?;
        match function {
            "Ref" => {
                let name = argument.as_str().ok_or_else(|| at.refuse("Ref needs a name"))?;
                if name == "AWS::NoValue" {
                    return Ok(None);
                }
                self.reference(at, name).map(|text| Some(Value::String(text)))
            }
            "GetAtt" => {
                let (resource, attribute) = match argument {
                    Yaml::String(text) => text
                        .split_once('.')
                        .map(|(resource, attribute)| (resource.to_owned(), attribute.to_owned())),
                    Yaml::Sequence(parts) => match parts.as_slice() {
                        [Yaml::String(resource), Yaml::String(attribute)] => {
                            Some((resource.clone(), attribute.clone()))
                        }
                        _ => None,
                    },
                    _ => None,
                }
                .ok_or_else(|| at.refuse("GetAtt needs a resource and an attribute"))?;
                self.attribute(at, &resource, &attribute)
                    .map(|text| Some(Value::String(text)))
            }
            "Sub" => match argument {
                Yaml::String(text) => self
                    .substitute(at, text, &Map::new())
                    .map(|text| Some(Value::String(text))),
                Yaml::Sequence(parts) => match parts.as_slice() {
                    [Yaml::String(text), variables @ Yaml::Mapping(_)] => {
                        let variables = self.value(at, variables)?;
                        let variables = variables
                            .as_ref()
                            .and_then(Value::as_object)
                            .cloned()
                            .unwrap_or_default();
                        self.substitute(at, text, &variables)
                            .map(|text| Some(Value::String(text)))
                    }
                    _ => Err(at.refuse("Sub needs a text, or a text and variables")),
                },
                _ => Err(at.refuse("Sub needs a text, or a text and variables")),
            },
            "Join" => match self.arguments(at, function, argument)?.as_slice() {
                [Value::String(separator), Value::Array(items)] => {
                    let items: Option<Vec<String>> = items.iter().map(text_of).collect();
                    let items = items.ok_or_else(|| at.refuse("Join joins texts only"))?;
                    Ok(Some(Value::String(items.join(separator))))
                }
                _ => Err(at.refuse("Join needs a separator and a list")),
            },
            "Split" => match self.arguments(at, function, argument)?.as_slice() {
                [Value::String(separator), Value::String(text)] => Ok(Some(Value::Array(
                    text.split(separator.as_str()).map(Value::from).collect(),
                ))),
                _ => Err(at.refuse("Split needs a separator and a text")),
            },
            "Select" => match self.arguments(at, function, argument)?.as_slice() {
                [index, Value::Array(items)] => {
                    let index = text_of(index).and_then(|index| index.parse::<usize>().ok());
                    let item = index.and_then(|index| items.get(index)).cloned();
                    item.map(Some).ok_or_else(|| at.refuse("Select goes beyond its list"))
                }
                _ => Err(at.refuse("Select needs an index and a list")),
            },
            "If" => match sequence(argument) {
                [name, yes, no] => {
                    let name = name
                        .as_str()
                        .ok_or_else(|| at.refuse("If needs the name of a condition"))?;
                    self.value(at, if self.condition(at, name)? { yes } else { no })
                }
                _ => Err(at.refuse("If needs a condition and two values")),
            },
            "FindInMap" => match self.arguments(at, function, argument)?.as_slice() {
                [Value::String(map), Value::String(first), Value::String(second)] => {
                    let found = self
                        .mappings
                        .get(map)
                        .and_then(|map| map.get(first))
                        .and_then(|map| map.get(second));
                    let found =
                        found.ok_or_else(|| at.refuse(&format!("there is no {map}.{first}.{second} in Mappings")))?;
                    self.value(at, found)
                }
                _ => Err(at.refuse("FindInMap needs a map and two keys")),
            },
            "Condition" => {
                let name = argument.as_str().ok_or_else(|| at.refuse("Condition needs a name"))?;
                self.condition(at, name).map(|holds| Some(Value::Bool(holds)))
            }
            "Equals" => match self.arguments(at, function, argument)?.as_slice() {
                [left, right] => Ok(Some(Value::Bool(text_of(left) == text_of(right)))),
                _ => Err(at.refuse("Equals compares two values")),
            },
            "Not" => match self.flags(at, function, argument)?.as_slice() {
                [flag] => Ok(Some(Value::Bool(!flag))),
                _ => Err(at.refuse("Not has one condition")),
            },
            "And" => Ok(Some(Value::Bool(
                self.flags(at, function, argument)?.iter().all(|flag| *flag),
            ))),
            "Or" => Ok(Some(Value::Bool(
                self.flags(at, function, argument)?.iter().any(|flag| *flag),
            ))),
            other => Err(at.refuse(&format!("the function {other} is not understood"))),
        }
    }

    fn arguments(&self, at: &At<'_>, function: &str, argument: &Yaml) -> Result<Vec<Value>, TemplateError> {
        match self.value(at, argument)? {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(at.refuse(&format!("{function} needs a list of arguments"))),
        }
    }

    fn flags(&self, at: &At<'_>, function: &str, argument: &Yaml) -> Result<Vec<bool>, TemplateError> {
        let arguments = self.arguments(at, function, argument)?;
        let flags: Option<Vec<bool>> = arguments.iter().map(Value::as_bool).collect();
        flags.ok_or_else(|| at.refuse(&format!("{function} needs conditions")))
    }

    fn condition(&self, at: &At<'_>, name: &str) -> Result<bool, TemplateError> {
        let at = &at.deeper()?;
        let condition = self
            .conditions
            .get(name)
            .ok_or_else(|| at.refuse(&format!("there is no condition {name}")))?;
        match self.value(at, condition)? {
            Some(Value::Bool(holds)) => Ok(holds),
            _ => Err(at.refuse(&format!("the condition {name} is neither true nor false"))),
        }
    }

    fn substitute(&self, at: &At<'_>, text: &str, variables: &Map<String, Value>) -> Result<String, TemplateError> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            result.push_str(before);
            let (name, after) = after.split_once('}').ok_or_else(|| at.refuse("a ${ is not closed"))?;
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str("${");
                result.push_str(literal);
                result.push('}');
            } else if let Some(variable) = variables.get(name) {
                result.push_str(&text_of(variable).ok_or_else(|| at.refuse(&format!("{name} is not a text")))?);
            } else if let Some((resource, attribute)) = name.split_once('.') {
                result.push_str(&self.attribute(at, resource, attribute)?);
            } else {
                result.push_str(&self.reference(at, name)?);
            }
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn reference(&self, at: &At<'_>, name: &str) -> Result<String, TemplateError> {
        let fixed = match name {
            "AWS::Region" => Some(REGION),
            "AWS::AccountId" => Some(ACCOUNT),
            "AWS::Partition" => Some("aws"),
            "AWS::StackName" => Some("cfmp"),
            "AWS::StackId" => Some("arn:aws:cloudformation:us-east-1:000000000000:stack/cfmp/local"),
            "AWS::URLSuffix" => Some("amazonaws.com"),
            _ => None,
        };
        if let Some(text) = fixed {
            return Ok(text.to_owned());
        }
        if let Some(value) = self.parameters.get(name) {
            return Ok(value.clone());
        }
        match self.kind(at, name)? {
            "AWS::Serverless::HttpApi" => Ok("local".to_owned()),
            "AWS::SNS::Topic" | "AWS::SecretsManager::Secret" => self.arn(at, name),
            "AWS::SQS::Queue" => Ok(format!("{}/{ACCOUNT}/{}", self.base_url, self.physical_name(at, name)?)),
            _ => self.physical_name(at, name),
        }
    }

    fn attribute(&self, at: &At<'_>, resource: &str, attribute: &str) -> Result<String, TemplateError> {
        match (self.kind(at, resource)?, attribute) {
            ("AWS::Serverless::HttpApi", "ApiEndpoint") => Ok(self.base_url.clone()),
            ("AWS::ApiGatewayV2::Api", "ApiEndpoint") => Ok(super::websocket::endpoint(&self.base_url)),
            ("AWS::Serverless::HttpApi", "Stage") => Ok("$default".to_owned()),
            ("AWS::DynamoDB::Table", "StreamArn") => Ok(stream_arn(&self.arn(at, resource)?)),
            ("AWS::SQS::Queue", "QueueUrl") => self.reference(at, resource),
            ("AWS::SQS::Queue", "QueueName") | ("AWS::SNS::Topic", "TopicName") => self.physical_name(at, resource),
            ("AWS::Serverless::Function" | "AWS::DynamoDB::Table" | "AWS::SQS::Queue", "Arn")
            | ("AWS::SNS::Topic", "TopicArn")
            | ("AWS::SecretsManager::Secret", "Id") => self.arn(at, resource),
            (kind, _) if super::is_deployment_only(kind) => Ok(format!("{resource}.{attribute}.local")),
            (kind, _) => Err(at.refuse(&format!("{resource} ({kind}) has no attribute {attribute}"))),
        }
    }

    fn kind(&self, at: &At<'_>, resource: &str) -> Result<&str, TemplateError> {
        let raw = self.resources.get(resource);
        raw.map(|raw| raw.kind.as_str())
            .ok_or_else(|| at.refuse(&format!("there is no parameter or resource {resource}")))
    }

    fn physical_name(&self, at: &At<'_>, logical_id: &str) -> Result<String, TemplateError> {
        let at = &at.deeper()?;
        let property = match self.kind(at, logical_id)? {
            "AWS::Serverless::Function" => "FunctionName",
            "AWS::DynamoDB::Table" => "TableName",
            "AWS::SQS::Queue" => "QueueName",
            "AWS::SNS::Topic" => "TopicName",
            "AWS::SecretsManager::Secret" => "Name",
            "AWS::ApiGatewayV2::Stage" => "StageName",
            _ => return Ok(logical_id.to_owned()),
        };
        let stated = self
            .resources
            .get(logical_id)
            .and_then(|raw| raw.properties.get(property));
        match stated.map(|stated| self.value(at, stated)).transpose()?.flatten() {
            None => Ok(logical_id.to_owned()),
            Some(name) => text_of(&name).ok_or_else(|| at.refuse(&format!("{property} is not a text"))),
        }
    }

    fn arn(&self, at: &At<'_>, logical_id: &str) -> Result<String, TemplateError> {
        let name = self.physical_name(at, logical_id)?;
        let (service, resource) = match self.kind(at, logical_id)? {
            "AWS::Serverless::Function" => ("lambda", format!("function:{name}")),
            "AWS::DynamoDB::Table" => ("dynamodb", format!("table/{name}")),
            "AWS::SQS::Queue" => ("sqs", name),
            "AWS::SNS::Topic" => ("sns", name),
            "AWS::SecretsManager::Secret" => ("secretsmanager", format!("secret:{name}")),
            kind => return Err(at.refuse(&format!("{logical_id} ({kind}) has no ARN here"))),
        };
        Ok(format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"))
    }

    /// The ARN of a resource.
    pub(super) fn arn_of(&self, place: &str, logical_id: &str) -> Result<String, TemplateError> {
        self.arn(&At { place, depth: 0 }, logical_id)
    }
}

/// ARN of the stream of the table with this ARN. There is one stream per table and it never changes.
pub(super) fn stream_arn(table_arn: &str) -> String {
    format!("{table_arn}/stream/2020-01-01T00:00:00.000")
}

/// Where something is resolved.
struct At<'a> {
    place: &'a str,
    depth: usize,
}

impl At<'_> {
    fn deeper(&self) -> Result<At<'_>, TemplateError> {
        if self.depth == DEPTH {
            return Err(self.refuse("references lead in a circle"));
        }
        Ok(At {
            place: self.place,
            depth: self.depth + 1,
        })
    }

    fn refuse(&self, why: &str) -> TemplateError {
        TemplateError::Refused {
            place: self.place.to_owned(),
            why: why.to_owned(),
        }
    }
}

fn sequence(yaml: &Yaml) -> &[Yaml] {
    yaml.as_sequence().map_or(&[], Vec::as_slice)
}

fn scalar(yaml: &Yaml) -> Option<String> {
    match yaml {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// CloudFormation makes texts of numbers and flags where it needs texts.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
