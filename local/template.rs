//! The deployment that `template.yaml` describes. What is not understood is refused in one line, never ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_norway::{Mapping, Value as Yaml};

use intrinsic::{Raw, Scope, text_of};
use model::{Cors, EventSource, Template};
use properties::Properties;
use store::Named;

mod function;
mod intrinsic;
pub mod model;
mod properties;
mod store;
mod websocket;

/// The region that everything is in.
pub(crate) const REGION: &str = "us-east-1";
/// The account that everything belongs to.
pub(crate) const ACCOUNT: &str = "000000000000";
/// API Gateway's limit on routes.
const ROUTES_LIMIT: usize = 300;

/// Values of parameters that a laptop sets, where the template has such parameters. Browsers may come from anywhere: a
/// front-end under development has a port of its own.
const LOCAL_PARAMETERS: [(&str, &str); 5] = [
    ("Stage", "local"),
    ("Sandbox", "on"),
    ("Alipay", "sandbox"),
    ("WechatPay", "sandbox"),
    ("AllowedOrigin", "*"),
];
/// The parameter that says where clients reach the deployment.
const BASE_URL_PARAMETER: &str = "PublicBaseUrl";

/// Why a template was refused.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file can not be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("template: {0}")]
    Syntax(#[from] serde_norway::Error),
    /// Something in it is wrong or not understood.
    #[error("template: {place}: {why}")]
    Refused {
        /// Logical id and property.
        place: String,
        /// What about it.
        why: String,
    },
}

/// Types that only a deployment needs.
fn is_deployment_only(kind: &str) -> bool {
    const PREFIXES: [&str; 5] = [
        "AWS::CloudFront::",
        "AWS::CloudWatch::",
        "AWS::S3::",
        "AWS::SES::",
        "AWS::Route53::",
    ];
    const TYPES: [&str; 6] = [
        "AWS::ApiGateway::Account",
        "AWS::CertificateManager::Certificate",
        "AWS::Logs::LogGroup",
        "AWS::Logs::MetricFilter",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
    ];
    PREFIXES.iter().any(|prefix| kind.starts_with(prefix)) || TYPES.contains(&kind)
}

impl Template {
    /// Reads the template at `path` for a platform that serves at `base_url`.
    ///
    /// # Errors
    /// The file can not be read, or says something that is not understood.
    pub fn read(path: &Path, base_url: &str) -> Result<Template, TemplateError> {
        Template::read_with(path, base_url, &[])
    }

    /// Reads the template at `path`; `given` are values of parameters, where it has such parameters.
    ///
    /// # Errors
    /// The file can not be read, or says something that is not understood.
    pub fn read_with(path: &Path, base_url: &str, given: &[(&str, String)]) -> Result<Template, TemplateError> {
        let text = std::fs::read_to_string(path).map_err(|source| TemplateError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Template::parse_with(&text, base_url, given)
    }

    /// Reads a template's text.
    ///
    /// # Errors
    /// It says something that is not understood.
    pub fn parse(text: &str, base_url: &str) -> Result<Template, TemplateError> {
        Template::parse_with(text, base_url, &[])
    }

    fn parse_with(text: &str, base_url: &str, given: &[(&str, String)]) -> Result<Template, TemplateError> {
        let document: Mapping = serde_norway::from_str(text)?;
        let mut sections = Sections::default();
        for (name, section) in document {
            match name.as_str().unwrap_or_default() {
                // For people, for the deployment, or for what refers to the deployment.
                "AWSTemplateFormatVersion" | "Transform" | "Description" | "Metadata" | "Rules" | "Outputs" => {}
                "Globals" => sections.globals = section,
                "Parameters" => sections.parameters = section,
                "Conditions" => sections.conditions = section,
                "Mappings" => sections.mappings = section,
                "Resources" => sections.resources = section,
                other => return Err(refuse(other, "this section is not understood")),
            }
        }
        sections.read(base_url, given)
    }
}

#[derive(Default)]
struct Sections {
    globals: Yaml,
    parameters: Yaml,
    conditions: Yaml,
    mappings: Yaml,
    resources: Yaml,
}

impl Sections {
    fn read(self, base_url: &str, given: &[(&str, String)]) -> Result<Template, TemplateError> {
        let mut scope = Scope {
            parameters: parameters(&self.parameters, base_url, given)?,
            conditions: entries("Conditions", &self.conditions)?.into_iter().collect(),
            mappings: self.mappings,
            resources: BTreeMap::new(),
            base_url: base_url.to_owned(),
        };
        let mut order = Vec::new();
        for (logical_id, resource) in entries("Resources", &self.resources)? {
            let resource: BTreeMap<String, Yaml> = entries(&logical_id, &resource)?.into_iter().collect();
            if let Some(condition) = resource.get("Condition") {
                let name = condition
                    .as_str()
                    .ok_or_else(|| refuse(&logical_id, "Condition should be a name"))?;
                if !scope.holds(&logical_id, name)? {
                    continue;
                }
            }
            let known = [
                "Type",
                "Properties",
                "Metadata",
                "Condition",
                "DependsOn",
                "DeletionPolicy",
                "UpdateReplacePolicy",
            ];
            if let Some(other) = resource.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(refuse(&logical_id, &format!("the attribute {other} is not understood")));
            }
            let kind = resource
                .get("Type")
                .and_then(Yaml::as_str)
                .ok_or_else(|| refuse(&logical_id, "Type is missing"))?;
            let part = |name: &str| resource.get(name).cloned().unwrap_or(Yaml::Null);
            let raw = Raw {
                kind: kind.to_owned(),
                properties: part("Properties"),
                metadata: part("Metadata"),
            };
            scope.resources.insert(logical_id.clone(), raw);
            order.push(logical_id);
        }
        let globals = Globals::read(&scope, &self.globals)?;
        let (mut template, mut sockets) = (Template::default(), websocket::Parts::default());
        for logical_id in &order {
            let Some(raw) = scope.resources.get(logical_id) else {
                continue;
            };
            if websocket::is_part(&raw.kind) {
                let properties = scope.resolve(logical_id, &raw.properties)?.unwrap_or(Value::Null);
                sockets.add(logical_id, &raw.kind, Properties::new(logical_id, properties)?)?;
            } else {
                add(&mut template, &scope, &globals, logical_id, raw)?;
            }
        }
        template.sockets = sockets.assemble(&template.functions)?;
        check(&template)?;
        Ok(template)
    }
}

struct Globals {
    function: Value,
    http_api: Value,
}

impl Globals {
    fn read(scope: &Scope, yaml: &Yaml) -> Result<Globals, TemplateError> {
        let mut globals = Properties::new("Globals", scope.resolve("Globals", yaml)?.unwrap_or(Value::Null))?;
        let function = globals.take("Function").unwrap_or(Value::Null);
        let http_api = globals.take("HttpApi").unwrap_or(Value::Null);
        globals.finish()?;
        Ok(Globals { function, http_api })
    }
}

fn add(
    template: &mut Template,
    scope: &Scope,
    globals: &Globals,
    logical_id: &str,
    raw: &Raw,
) -> Result<(), TemplateError> {
    if is_deployment_only(&raw.kind) {
        return Ok(());
    }
    let properties = scope.resolve(logical_id, &raw.properties)?.unwrap_or(Value::Null);
    let own = |properties| Properties::new(logical_id, properties);
    let named = || {
        Ok::<_, TemplateError>(Named {
            logical_id: logical_id.to_owned(),
            name: scope.name_of(logical_id, logical_id)?,
            arn: scope.arn_of(logical_id, logical_id)?,
        })
    };
    let id = logical_id.to_owned();
    match raw.kind.as_str() {
        "AWS::Serverless::Function" => {
            let metadata = scope.resolve(logical_id, &raw.metadata)?.unwrap_or(Value::Null);
            let metadata = Properties::new(&format!("{logical_id}.Metadata"), metadata)?;
            let properties = own(merged(&globals.function, properties))?;
            let read = function::read(logical_id, scope.name_of(logical_id, logical_id)?, properties, metadata)?;
            template.routes.extend(read.routes);
            template.functions.insert(id, read.function);
        }
        "AWS::Serverless::HttpApi" => template.cors = cors(own(merged(&globals.http_api, properties))?)?,
        "AWS::DynamoDB::Table" => {
            template.tables.insert(id, store::table(named()?, own(properties)?)?);
        }
        "AWS::IAM::Role" => {
            let statements = function::role_statements(own(properties)?)?;
            if !statements.is_empty() {
                template.roles.insert(id, statements);
            }
        }
        "AWS::SNS::Topic" => {
            template.topics.insert(id, store::topic(named()?, own(properties)?)?);
        }
        "AWS::SNS::Subscription" => {
            template
                .subscriptions
                .extend(store::subscription(logical_id, own(properties)?)?);
        }
        "AWS::SQS::Queue" => {
            template.queues.insert(id, store::queue(named()?, own(properties)?)?);
        }
        "AWS::SecretsManager::Secret" => {
            template.secrets.insert(id, store::secret(named()?, own(properties)?)?);
        }
        other => return Err(refuse(logical_id, &format!("the type {other} is not understood"))),
    }
    Ok(())
}

fn cors(mut given: Properties) -> Result<Option<Cors>, TemplateError> {
    given.skip(&[
        "AccessLogSettings",
        "DefaultRouteSettings",
        "Description",
        "DisableExecuteApiEndpoint",
        "Domain",
        "FailOnWarnings",
        "Name",
        "PropagateTags",
        "RouteSettings",
        "Tags",
    ]);
    if given.text("StageName")?.is_some_and(|stage| stage != "$default") {
        return Err(given.refuse("only the stage $default is understood: others add a segment to every path"));
    }
    let cors = match given.object("CorsConfiguration")? {
        None => None,
        Some(mut cors) => {
            let read = Cors {
                allow_origins: cors.texts("AllowOrigins")?,
                allow_methods: cors.texts("AllowMethods")?,
                allow_headers: cors.texts("AllowHeaders")?,
                expose_headers: cors.texts("ExposeHeaders")?,
                allow_credentials: cors.flag("AllowCredentials")?.unwrap_or(false),
                max_age: cors.number("MaxAge")?,
            };
            cors.finish()?;
            Some(read)
        }
    };
    given.finish()?;
    Ok(cors)
}

/// SAM's rule for Globals: objects are merged, lists are appended, everything else is overridden.
fn merged(global: &Value, own: Value) -> Value {
    match (global, own) {
        (Value::Object(global), Value::Object(mut own)) => {
            for (key, global) in global {
                let value = own.remove(key).unwrap_or(Value::Null);
                own.insert(key.clone(), merged(global, value));
            }
            Value::Object(own)
        }
        (Value::Array(global), Value::Array(own)) => Value::Array(global.iter().cloned().chain(own).collect()),
        (global, Value::Null) => global.clone(),
        (_, own) => own,
    }
}

/// Loose ends that a deployment would find, or would not.
fn check(template: &Template) -> Result<(), TemplateError> {
    let mut keys = BTreeSet::new();
    for route in &template.routes {
        if !keys.insert((&route.method, &route.path)) {
            return Err(refuse(
                &route.function,
                &format!("the route {} {} is taken", route.method, route.path),
            ));
        }
    }
    if template.routes.len() > ROUTES_LIMIT {
        return Err(refuse("HttpApi", &format!("API Gateway takes {ROUTES_LIMIT} routes")));
    }
    let queues: BTreeSet<&str> = template.queues.values().map(|queue| queue.arn.as_str()).collect();
    let topics: BTreeSet<&str> = template.topics.values().map(|topic| topic.arn.as_str()).collect();
    let streams: BTreeSet<&str> = template
        .tables
        .values()
        .filter_map(|table| table.stream_arn.as_deref())
        .collect();
    let known = |place: &str, arns: &BTreeSet<&str>, arn: &str| {
        if arns.contains(arn) {
            Ok(())
        } else {
            Err(refuse(place, &format!("nothing in the template is {arn}")))
        }
    };
    for function in template.functions.values() {
        for source in &function.sources {
            match source {
                EventSource::Stream {
                    stream_arn, on_failure, ..
                } => {
                    known(&function.logical_id, &streams, stream_arn)?;
                    if let Some(queue) = on_failure {
                        known(&function.logical_id, &queues, queue)?;
                    }
                }
                EventSource::Queue { queue_arn, .. } => known(&function.logical_id, &queues, queue_arn)?,
            }
        }
    }
    for subscription in &template.subscriptions {
        known(&subscription.logical_id, &topics, &subscription.topic_arn)?;
        known(&subscription.logical_id, &queues, &subscription.queue_arn)?;
        if let Some(queue) = &subscription.dead_letter_arn {
            known(&subscription.logical_id, &queues, queue)?;
        }
    }
    for queue in template.queues.values() {
        if let Some((target, _)) = &queue.redrive {
            known(&queue.logical_id, &queues, target)?;
        }
    }
    Ok(())
}

fn parameters(
    yaml: &Yaml,
    base_url: &str,
    given: &[(&str, String)],
) -> Result<BTreeMap<String, String>, TemplateError> {
    let mut parameters = BTreeMap::new();
    for (name, parameter) in entries("Parameters", yaml)? {
        let local = given
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain(LOCAL_PARAMETERS)
            .chain([(BASE_URL_PARAMETER, base_url)])
            .find(|(local, _)| *local == name)
            .map(|(_, value)| value.to_owned());
        let default = || {
            let default = parameter.get("Default")?;
            text_of(&serde_json::to_value(default).ok()?)
        };
        let value = local
            .or_else(default)
            .ok_or_else(|| refuse(&name, "this parameter has no default"))?;
        let allowed = parameter.get("AllowedValues").and_then(Yaml::as_sequence);
        if let Some(allowed) = allowed
            && !allowed
                .iter()
                .any(|one| serde_json::to_value(one).ok().and_then(|one| text_of(&one)) == Some(value.clone()))
        {
            return Err(refuse(&name, &format!("{value} is not among its AllowedValues")));
        }
        parameters.insert(name, value);
    }
    Ok(parameters)
}

/// The entries of a mapping with text keys.
fn entries(place: &str, yaml: &Yaml) -> Result<Vec<(String, Yaml)>, TemplateError> {
    match yaml {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Mapping(mapping) => mapping
            .iter()
            .map(|(key, value)| match key.as_str() {
                Some(key) => Ok((key.to_owned(), value.clone())),
                None => Err(refuse(place, "a key is not text")),
            })
            .collect(),
        _ => Err(refuse(place, "should be a mapping")),
    }
}

fn refuse(place: &str, why: &str) -> TemplateError {
    TemplateError::Refused {
        place: place.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BASE: &str = "http://127.0.0.1:3000";

    const SYSTEM: &str = r#"
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, Default: staging, AllowedValues: [local, staging, production]}
  Sandbox: {Type: String, Default: 'off'}
Conditions:
  Production: !Equals [!Ref Stage, production]
  SandboxOn: !And [!Equals [!Ref Sandbox, 'on'], !Not [!Condition Production]]
Globals:
  Function:
    Runtime: provided.al2023
    Handler: bootstrap
    Timeout: 5
    Environment: {Variables: {STAGE: !Ref Stage}}
Resources:
  HttpApi:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration: {AllowOrigins: ['*'], AllowMethods: [GET], MaxAge: 5}
  Orders:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    Properties:
      TableName: !Sub '${AWS::StackName}-orders'
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: order_uuid, AttributeType: S}]
      KeySchema: [{AttributeName: order_uuid, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
  Topic: {Type: AWS::SNS::Topic}
  Letters: {Type: AWS::SQS::Queue}
  Mail:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 60
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Letters.Arn, maxReceiveCount: 5}
  MailOfTopic:
    Type: AWS::SNS::Subscription
    Properties:
      Protocol: sqs
      TopicArn: !Ref Topic
      Endpoint: !GetAtt Mail.Arn
      RawMessageDelivery: true
      FilterPolicy: {type: [OrderCreated]}
  PageFunction:
    Type: AWS::Serverless::Function
    Condition: SandboxOn
    Metadata: {BuildMethod: rust-cargolambda, BuildProperties: {Binary: page}}
    Properties:
      CodeUri: functions/page
      Environment:
        Variables:
          TABLE: !Ref Orders
          API: !GetAtt HttpApi.ApiEndpoint
          QUEUE: !Ref Mail
          SOCKETS: !Sub '${Sockets.ApiEndpoint}/${SocketStage}'
          GONE: !If [Production, x, !Ref AWS::NoValue]
      Policies:
        - Statement:
            - Effect: Allow
              Action: dynamodb:GetItem
              Resource: [!GetAtt Orders.Arn, !Join ['/', [!GetAtt Orders.Arn, index, '*']]]
      Events:
        Get: {Type: HttpApi, Properties: {ApiId: !Ref HttpApi, Method: get, Path: '/pages/{id}'}}
        Rest: {Type: HttpApi, Properties: {ApiId: !Ref HttpApi}}
        Changes:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Orders.StreamArn
            StartingPosition: TRIM_HORIZON
            FunctionResponseTypes: [ReportBatchItemFailures]
            DestinationConfig: {OnFailure: {Destination: !GetAtt Letters.Arn}}
        Work: {Type: SQS, Properties: {Queue: !GetAtt Mail.Arn}}
        Often: {Type: ScheduleV2, Properties: {ScheduleExpression: rate(5 minutes)}}
  OnlyProductionFunction:
    Type: AWS::Serverless::Function
    Condition: Production
    Properties: {Nonsense: true}
  Alarm: {Type: AWS::CloudWatch::Alarm, Properties: {Anything: goes}}
  Sockets:
    Type: AWS::ApiGatewayV2::Api
    Properties: {Name: sockets, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.verb}
  SocketStage:
    Type: AWS::ApiGatewayV2::Stage
    Properties: {ApiId: !Ref Sockets, StageName: live, AutoDeploy: true}
  SocketRoute:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      ApiId: !Ref Sockets
      RouteKey: $default
      RouteResponseSelectionExpression: $default
      Target: !Sub 'integrations/${SocketIntegration}'
  SocketResponse:
    Type: AWS::ApiGatewayV2::RouteResponse
    Properties: {ApiId: !Ref Sockets, RouteId: !Ref SocketRoute, RouteResponseKey: $default}
  SocketIntegration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Sockets
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub 'arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${PageFunction.Arn}/invocations'
  SocketPermission:
    Type: AWS::Lambda::Permission
    Properties:
      FunctionName: !Ref PageFunction
      Action: lambda:InvokeFunction
      Principal: apigateway.amazonaws.com
      SourceArn: !Sub 'arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:${Sockets}/*/$default'
"#;

    #[test]
    fn a_whole_system_is_read() {
        let template = Template::parse(SYSTEM, BASE).unwrap();
        assert_eq!(template.functions.keys().collect::<Vec<_>>(), ["PageFunction"]);
        let page = &template.functions["PageFunction"];
        assert_eq!((page.name.as_str(), page.binary.as_str()), ("PageFunction", "page"));
        assert_eq!(page.timeout, Duration::from_secs(5));
        let environment: Vec<_> = page
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            environment,
            [
                ("API", BASE),
                ("QUEUE", "http://127.0.0.1:3000/000000000000/Mail"),
                ("SOCKETS", "ws://127.0.0.1:3000/live"),
                ("STAGE", "local"),
                ("TABLE", "cfmp-orders"),
            ]
        );
        assert_eq!(
            page.statements[0].resources,
            [
                "arn:aws:dynamodb:us-east-1:000000000000:table/cfmp-orders",
                "arn:aws:dynamodb:us-east-1:000000000000:table/cfmp-orders/index/*",
            ]
        );
        assert_eq!(page.schedules[0].every, Duration::from_secs(300));
        assert_eq!(page.sources.len(), 2);
        let routes: Vec<_> = template
            .routes
            .iter()
            .map(|route| (route.method.as_str(), route.path.as_str()))
            .collect();
        assert_eq!(routes, [("GET", "/pages/{id}"), ("ANY", "$default")]);
        assert_eq!(template.cors.unwrap().max_age, Some(5));
        assert_eq!(template.tables["Orders"].definition["TableName"], "cfmp-orders");
        assert_eq!(
            template.queues["Mail"].redrive,
            Some(("arn:aws:sqs:us-east-1:000000000000:Letters".to_owned(), 5))
        );
        assert_eq!(template.subscriptions[0].queue_arn, template.queues["Mail"].arn);
        let sockets = template.sockets.unwrap();
        assert_eq!((sockets.stage.as_str(), sockets.selected_by.as_str()), ("live", "verb"));
        let route = model::SocketRoute {
            function: "PageFunction".to_owned(),
            answers: true,
        };
        assert_eq!(sockets.routes, BTreeMap::from([("$default".to_owned(), route)]));
    }

    #[test]
    fn what_is_not_understood_is_refused_in_one_line() {
        for (given, instead, refusal) in [
            (
                "VisibilityTimeout: 60",
                "Visibility: 60",
                "template: Mail: the property Visibility is not understood",
            ),
            (
                "VisibilityTimeout: 60",
                "VisibilityTimeout: x",
                "template: Mail.VisibilityTimeout: should be a number",
            ),
            (
                "AWS::CloudWatch::Alarm",
                "AWS::EC2::Instance",
                "template: Alarm: the type AWS::EC2::Instance is not understood",
            ),
            (
                "!Ref Topic",
                "!Ref Nobody",
                "template: MailOfTopic: there is no parameter or resource Nobody",
            ),
            (
                "!Ref Topic",
                "!ImportValue x",
                "template: MailOfTopic: the function ImportValue is not understood",
            ),
            (
                "rate(5 minutes)",
                "cron(0 0 * * ? *)",
                "template: PageFunction.Events.Often.Properties: the schedule cron(0 0 * * ? *) should be rate(<number> <unit>)",
            ),
            (
                "Path: '/pages/{id}'",
                "Path: '/pages/'",
                "template: PageFunction.Events.Get.Properties: the path /pages/ ends in a slash, which API Gateway does not take",
            ),
            (
                "- Statement:",
                "- Nothing:",
                "template: PageFunction.Policies: should be a document with statements: policy templates and names are too wide",
            ),
            (
                "Transform:",
                "Transformation:",
                "template: Transformation: this section is not understood",
            ),
            (
                "Queue: !GetAtt Mail.Arn",
                "Queue: 'arn:x'",
                "template: PageFunction: nothing in the template is arn:x",
            ),
            (
                "ProtocolType: WEBSOCKET",
                "ProtocolType: HTTP",
                "template: Sockets: the ProtocolType HTTP is not understood: an HTTP API is an AWS::Serverless::HttpApi",
            ),
            (
                "${Sockets}/*/$default",
                "${Sockets}/*/$connect",
                "template: SocketRoute: no AWS::Lambda::Permission lets Sockets/*/$default invoke PageFunction",
            ),
            (
                "RouteId: !Ref SocketRoute",
                "RouteId: !Ref SocketStage",
                "template: SocketResponse: it answers for no route",
            ),
            (
                "      RouteResponseSelectionExpression: $default\n",
                "",
                "template: SocketRoute: a route answers with both RouteResponseSelectionExpression and a RouteResponse, or \
                 with neither",
            ),
            (
                "AWS::ApiGatewayV2::RouteResponse",
                "AWS::ApiGatewayV2::ApiMapping",
                "template: SocketResponse: the type AWS::ApiGatewayV2::ApiMapping is not understood",
            ),
            (
                "!Sub '${AWS::StackName}-orders'",
                "!Ref Orders",
                "template: Orders: references lead in a circle",
            ),
        ] {
            assert!(SYSTEM.contains(given), "{given}");
            let refused = Template::parse(&SYSTEM.replacen(given, instead, 1), BASE)
                .unwrap_err()
                .to_string();
            assert_eq!(refused, refusal);
        }
    }

    #[test]
    fn given_parameters_count_where_the_template_has_them() {
        let given = [("Nobodys", "x".to_owned()), ("Architecture", "x86_64".to_owned())];
        let text = SYSTEM.replacen(
            "  Sandbox:",
            "  Architecture: {Type: String, Default: arm64, AllowedValues: [arm64, x86_64]}\n  Sandbox:",
            1,
        );
        assert!(Template::parse_with(&text, BASE, &given).is_ok());
        let refused = Template::parse_with(&text, BASE, &[("Architecture", "mips".to_owned())]).unwrap_err();
        assert!(
            refused.to_string().contains("mips is not among its AllowedValues"),
            "{refused}"
        );
    }
}
