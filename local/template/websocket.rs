//! `AWS::ApiGatewayV2::...`: the WebSocket API, put together from its parts.

use std::collections::BTreeMap;

use super::TemplateError;
use super::model::{Function, SocketApi, SocketRoute};
use super::properties::Properties;

/// Which member of a message's body names its route.
const SELECTION: &str = "$request.body.";

/// The parts, as the template states them one by one.
#[derive(Debug, Default)]
pub(super) struct Parts {
    apis: Vec<Api>,
    stages: Vec<(String, Stage)>,
    integrations: BTreeMap<String, Integration>,
    routes: Vec<Route>,
    responses: Vec<Response>,
    permissions: Vec<Permission>,
}

#[derive(Debug)]
struct Api {
    logical_id: String,
    selected_by: String,
}

#[derive(Debug)]
struct Stage {
    api: String,
    name: String,
}

#[derive(Debug)]
struct Integration {
    api: String,
    /// ARN of the function.
    function: String,
}

#[derive(Debug)]
struct Route {
    logical_id: String,
    api: String,
    key: String,
    integration: String,
    answers: bool,
}

#[derive(Debug)]
struct Response {
    logical_id: String,
    route: String,
}

#[derive(Debug)]
struct Permission {
    function: String,
    source: String,
}

/// Whether this type is a part of a WebSocket API.
pub(super) fn is_part(kind: &str) -> bool {
    kind.starts_with("AWS::ApiGatewayV2::") || kind == "AWS::Lambda::Permission"
}

impl Parts {
    pub(super) fn add(&mut self, logical_id: &str, kind: &str, mut given: Properties) -> Result<(), TemplateError> {
        given.skip(&["Description", "Tags"]);
        let id = logical_id.to_owned();
        match kind {
            "AWS::ApiGatewayV2::Api" => {
                given.skip(&["Name", "DisableExecuteApiEndpoint", "IpAddressType"]);
                let protocol = given.required_text("ProtocolType")?;
                if protocol != "WEBSOCKET" {
                    return Err(given.refuse(&format!(
                        "the ProtocolType {protocol} is not understood: an HTTP API is an AWS::Serverless::HttpApi"
                    )));
                }
                let selection = given.required_text("RouteSelectionExpression")?;
                let selected_by = selection.strip_prefix(SELECTION).filter(|name| !name.contains('.'));
                let selected_by = selected_by
                    .ok_or_else(|| given.refuse("RouteSelectionExpression should be $request.body.<member>"))?;
                self.apis.push(Api {
                    logical_id: id,
                    selected_by: selected_by.to_owned(),
                });
            }
            "AWS::ApiGatewayV2::Stage" => {
                given.skip(&["AccessLogSettings", "DefaultRouteSettings", "RouteSettings"]);
                if given.flag("AutoDeploy")? != Some(true) {
                    return Err(given.refuse("AutoDeploy should be true: without a deployment there is no route"));
                }
                let stage = Stage {
                    api: given.required_text("ApiId")?,
                    name: given.required_text("StageName")?,
                };
                self.stages.push((id, stage));
            }
            "AWS::ApiGatewayV2::Integration" => {
                given.skip(&["IntegrationMethod", "TimeoutInMillis"]);
                if given.required_text("IntegrationType")? != "AWS_PROXY" {
                    return Err(given.refuse("IntegrationType should be AWS_PROXY"));
                }
                let uri = given.required_text("IntegrationUri")?;
                let function = uri
                    .split_once(":lambda:path/2015-03-31/functions/")
                    .and_then(|(_, rest)| rest.strip_suffix("/invocations"))
                    .ok_or_else(|| given.refuse("IntegrationUri should be a function's"))?;
                let integration = Integration {
                    api: given.required_text("ApiId")?,
                    function: function.to_owned(),
                };
                self.integrations.insert(id, integration);
            }
            "AWS::ApiGatewayV2::Route" => {
                given.skip(&["OperationName"]);
                if given.text("AuthorizationType")?.is_some_and(|kind| kind != "NONE") {
                    return Err(given.refuse("AuthorizationType should be NONE: functions verify tokens themselves"));
                }
                let target = given.required_text("Target")?;
                let integration = target
                    .strip_prefix("integrations/")
                    .ok_or_else(|| given.refuse("Target should be an integration"))?;
                let answers = match given.text("RouteResponseSelectionExpression")?.as_deref() {
                    None => false,
                    Some("$default") => true,
                    Some(_) => return Err(given.refuse("RouteResponseSelectionExpression should be $default")),
                };
                self.routes.push(Route {
                    logical_id: id,
                    api: given.required_text("ApiId")?,
                    key: given.required_text("RouteKey")?,
                    integration: integration.to_owned(),
                    answers,
                });
            }
            "AWS::ApiGatewayV2::RouteResponse" => {
                given.skip(&["ApiId"]);
                if given.required_text("RouteResponseKey")? != "$default" {
                    return Err(given.refuse("RouteResponseKey should be $default"));
                }
                let route = given.required_text("RouteId")?;
                self.responses.push(Response { logical_id: id, route });
            }
            "AWS::Lambda::Permission" => {
                let principal = given.required_text("Principal")?;
                if principal != "apigateway.amazonaws.com" || given.required_text("Action")? != "lambda:InvokeFunction"
                {
                    return Err(given.refuse("only API Gateway's invocations are understood"));
                }
                self.permissions.push(Permission {
                    function: given.required_text("FunctionName")?,
                    source: given.required_text("SourceArn")?,
                });
            }
            other => return Err(given.refuse(&format!("the type {other} is not understood"))),
        }
        given.finish()
    }

    /// The API, if there is one.
    pub(super) fn assemble(self, functions: &BTreeMap<String, Function>) -> Result<Option<SocketApi>, TemplateError> {
        let mut apis = self.apis.iter();
        let Some(api) = apis.next() else {
            return match self.stages.first() {
                None => Ok(None),
                Some((id, _)) => Err(super::refuse(id, "there is no API to it")),
            };
        };
        if let Some(second) = apis.next() {
            return Err(super::refuse(&second.logical_id, "there is a WebSocket API already"));
        }
        let id = &api.logical_id;
        let belongs = |place: &str, named: &str| {
            if named == id {
                Ok(())
            } else {
                Err(super::refuse(place, &format!("{named} is no WebSocket API")))
            }
        };
        let (stage_id, stage) = match self.stages.as_slice() {
            [single] => single,
            _ => return Err(super::refuse(id, "it should have one stage")),
        };
        belongs(stage_id, &stage.api)?;
        let is_segment = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_segment(&stage.name) {
            return Err(super::refuse(
                stage_id,
                "StageName should be letters, digits and underscores",
            ));
        }
        for response in &self.responses {
            if !self.routes.iter().any(|route| route.logical_id == response.route) {
                return Err(super::refuse(&response.logical_id, "it answers for no route"));
            }
        }
        let mut routes = BTreeMap::new();
        for route in &self.routes {
            let place = &route.logical_id;
            belongs(place, &route.api)?;
            let integration = self
                .integrations
                .get(&route.integration)
                .ok_or_else(|| super::refuse(place, &format!("there is no integration {}", route.integration)))?;
            belongs(&route.integration, &integration.api)?;
            let name = integration.function.rsplit(':').next().unwrap_or_default();
            let function = functions
                .values()
                .find(|function| function.name == name)
                .ok_or_else(|| super::refuse(&route.integration, &format!("there is no function {name}")))?;
            let source = format!("/*/{}", route.key);
            let is_permitted = self.permissions.iter().any(|permission| {
                permission.function == function.name && permission.source.ends_with(&format!(":{id}{source}"))
            });
            if !is_permitted {
                let why = format!(
                    "no AWS::Lambda::Permission lets {id}{source} invoke {}",
                    function.logical_id
                );
                return Err(super::refuse(place, &why));
            }
            let has_response = self.responses.iter().any(|response| response.route == *place);
            if route.answers != has_response {
                return Err(super::refuse(
                    place,
                    "a route answers with both RouteResponseSelectionExpression and a RouteResponse, or with neither",
                ));
            }
            let read = SocketRoute {
                function: function.logical_id.clone(),
                answers: route.answers,
            };
            if routes.insert(route.key.clone(), read).is_some() {
                return Err(super::refuse(place, &format!("the route {} is taken", route.key)));
            }
        }
        Ok(Some(SocketApi {
            logical_id: id.clone(),
            stage: stage.name.clone(),
            selected_by: api.selected_by.clone(),
            routes,
        }))
    }
}

/// Where clients connect, given where the platform serves.
pub(super) fn endpoint(base_url: &str) -> String {
    base_url.replacen("http", "ws", 1)
}
