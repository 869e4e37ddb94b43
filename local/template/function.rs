//! `AWS::Serverless::Function`

use std::time::Duration;

use serde_json::Value;

use super::TemplateError;
use super::model::{EventSource, Function, Route, Schedule, Statement};
use super::properties::Properties;

/// What a function's entry in the template comes to.
pub(super) struct Read {
    pub(super) function: Function,
    pub(super) routes: Vec<Route>,
}

/// Properties that mean something on AWS only.
const DEPLOYMENT_ONLY: [&str; 14] = [
    "Architectures",
    "AutoPublishAlias",
    "DeadLetterQueue",
    "DeploymentPreference",
    "Description",
    "EphemeralStorage",
    "EventInvokeConfig",
    "FunctionName",
    "KmsKeyArn",
    "LoggingConfig",
    "PropagateTags",
    "RuntimeManagementConfig",
    "Tags",
    "Tracing",
];

pub(super) fn read(
    logical_id: &str,
    name: String,
    mut given: Properties,
    mut metadata: Properties,
) -> Result<Read, TemplateError> {
    given.skip(&DEPLOYMENT_ONLY);
    // What SAM's resource metadata may hold besides.
    metadata.skip(&["SamResourceId", "cfn-lint", "DockerBuildArgs"]);
    if metadata.text("BuildMethod")?.as_deref() != Some("rust-cargolambda") {
        return Err(metadata.refuse("BuildMethod should be rust-cargolambda"));
    }
    let mut build = metadata
        .object("BuildProperties")?
        .ok_or_else(|| metadata.refuse("BuildProperties is missing"))?;
    let binary = build.required_text("Binary")?;
    build.finish()?;
    metadata.finish()?;

    let handler = given.text("Handler")?;
    if handler.as_deref().is_some_and(|handler| handler != "bootstrap") {
        return Err(given.refuse("Handler should be bootstrap"));
    }
    let runtime = given.required_text("Runtime")?;
    if !runtime.starts_with("provided.") {
        return Err(given.refuse(&format!("the runtime {runtime} is not one of Rust's")));
    }
    let mut environment = Vec::new();
    if let Some(mut object) = given.object("Environment")? {
        if let Some(variables) = object.object("Variables")? {
            environment = variables.all_texts()?;
        }
        object.finish()?;
    }
    let mut statements = Vec::new();
    for policy in given.list("Policies")? {
        let policy = Properties::new(&format!("{logical_id}.Policies"), policy)
            .map_err(|_| given.refuse("Policies should be documents with statements of their own"))?;
        statements.extend(policy_statements(policy)?);
    }
    let mut function = Function {
        logical_id: logical_id.to_owned(),
        name,
        binary,
        code_uri: given.required_text("CodeUri")?,
        timeout: Duration::from_secs(given.number("Timeout")?.unwrap_or(3)),
        memory_mb: small(given.number("MemorySize")?.unwrap_or(128)),
        environment: environment.into_iter().collect(),
        statements,
        sources: Vec::new(),
        schedules: Vec::new(),
        reserved_concurrency: given.number("ReservedConcurrentExecutions")?.map(small),
    };
    let mut routes = Vec::new();
    if let Some(events) = given.object("Events")? {
        for (name, event) in events.objects()? {
            read_event(&name, event, &mut function, &mut routes)?;
        }
    }
    given.finish()?;
    Ok(Read { function, routes })
}

fn read_event(
    name: &str,
    mut event: Properties,
    function: &mut Function,
    routes: &mut Vec<Route>,
) -> Result<(), TemplateError> {
    let kind = event.required_text("Type")?;
    let mut given = match event.object("Properties")? {
        Some(given) => given,
        None => Properties::new(event.place(), Value::Null)?,
    };
    match kind.as_str() {
        "HttpApi" => routes.push(route(&function.logical_id, &mut given)?),
        "DynamoDB" => function.sources.extend(stream(&mut given)?),
        "SQS" => function.sources.extend(queue(&mut given)?),
        "ScheduleV2" => function.schedules.push(schedule(name, &mut given)?),
        other => return Err(event.refuse(&format!("the event type {other} is not understood"))),
    }
    given.finish()?;
    event.finish()
}

fn route(function: &str, given: &mut Properties) -> Result<Route, TemplateError> {
    given.skip(&["ApiId", "TimeoutInMillis"]);
    if given
        .text("PayloadFormatVersion")?
        .is_some_and(|version| version != "2.0")
    {
        return Err(given.refuse("only PayloadFormatVersion 2.0 is understood"));
    }
    let path = given.text("Path")?.unwrap_or_else(|| "$default".to_owned());
    let method = given
        .text("Method")?
        .unwrap_or_else(|| "ANY".to_owned())
        .to_ascii_uppercase();
    let method = if method == "X-AMAZON-APIGATEWAY-ANY-METHOD" {
        "ANY".to_owned()
    } else {
        method
    };
    if path != "$default" && !path.starts_with('/') {
        return Err(given.refuse(&format!("the path {path} should begin with a slash")));
    }
    if path.len() > 1 && path.ends_with('/') {
        return Err(given.refuse(&format!(
            "the path {path} ends in a slash, which API Gateway does not take"
        )));
    }
    Ok(Route {
        method,
        path,
        function: function.to_owned(),
    })
}

fn stream(given: &mut Properties) -> Result<Option<EventSource>, TemplateError> {
    given.skip(&[
        "MaximumBatchingWindowInSeconds",
        "MaximumRecordAgeInSeconds",
        "ParallelizationFactor",
    ]);
    if given.required_text("StartingPosition")? != "TRIM_HORIZON" {
        return Err(given.refuse("StartingPosition should be TRIM_HORIZON: LATEST loses what happens meanwhile"));
    }
    let on_failure = match given.object("DestinationConfig")? {
        None => None,
        Some(mut config) => {
            let mut failure = config
                .object("OnFailure")?
                .ok_or_else(|| config.refuse("OnFailure is missing"))?;
            failure.skip(&["Type"]);
            let destination = failure.required_text("Destination")?;
            failure.finish()?;
            config.finish()?;
            Some(destination)
        }
    };
    let mut filters = Vec::new();
    if let Some(mut criteria) = given.object("FilterCriteria")? {
        for filter in criteria.list("Filters")? {
            let mut filter = Properties::new(criteria.place(), filter)?;
            filters.push(filter.required_text("Pattern")?);
            filter.finish()?;
        }
        criteria.finish()?;
    }
    let retries = given.text("MaximumRetryAttempts")?.unwrap_or_else(|| "-1".to_owned());
    let source = EventSource::Stream {
        stream_arn: given.required_text("Stream")?,
        batch_size: size(given.number("BatchSize")?.unwrap_or(100)),
        maximum_retry_attempts: match retries.as_str() {
            "-1" => u32::MAX,
            number => number
                .parse()
                .map_err(|_| given.refuse("MaximumRetryAttempts should be a number"))?,
        },
        bisect_batch_on_function_error: given.flag("BisectBatchOnFunctionError")?.unwrap_or(false),
        report_batch_item_failures: reports_item_failures(given)?,
        on_failure,
        filters,
    };
    Ok(given.flag("Enabled")?.unwrap_or(true).then_some(source))
}

fn queue(given: &mut Properties) -> Result<Option<EventSource>, TemplateError> {
    given.skip(&["MaximumBatchingWindowInSeconds"]);
    let mut maximum_concurrency = None;
    if let Some(mut scaling) = given.object("ScalingConfig")? {
        maximum_concurrency = scaling.number("MaximumConcurrency")?.map(small);
        scaling.finish()?;
    }
    let source = EventSource::Queue {
        queue_arn: given.required_text("Queue")?,
        batch_size: size(given.number("BatchSize")?.unwrap_or(10)),
        report_batch_item_failures: reports_item_failures(given)?,
        maximum_concurrency,
    };
    Ok(given.flag("Enabled")?.unwrap_or(true).then_some(source))
}

fn reports_item_failures(given: &mut Properties) -> Result<bool, TemplateError> {
    let types = given.texts("FunctionResponseTypes")?;
    match types.iter().find(|kind| *kind != "ReportBatchItemFailures") {
        Some(other) => Err(given.refuse(&format!("the response type {other} is not understood"))),
        None => Ok(!types.is_empty()),
    }
}

fn schedule(name: &str, given: &mut Properties) -> Result<Schedule, TemplateError> {
    given.skip(&[
        "DeadLetterConfig",
        "Description",
        "FlexibleTimeWindow",
        "GroupName",
        "Name",
        "OmitName",
        "RetryPolicy",
        "ScheduleExpressionTimezone",
    ]);
    let expression = given.required_text("ScheduleExpression")?;
    let every = rate(&expression)
        .ok_or_else(|| given.refuse(&format!("the schedule {expression} should be rate(<number> <unit>)")))?;
    let state = given.text("State")?.unwrap_or_else(|| "ENABLED".to_owned());
    Ok(Schedule {
        name: name.to_owned(),
        every,
        input: given.text("Input")?,
        enabled: state == "ENABLED",
    })
}

fn rate(expression: &str) -> Option<Duration> {
    let (number, unit) = expression.strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    let unit = match unit.strip_suffix('s').unwrap_or(unit) {
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_secs)
}

/// What a role states itself. Whom it trusts, and AWS's own policies, mean something on AWS only.
pub(super) fn role_statements(mut given: Properties) -> Result<Vec<Statement>, TemplateError> {
    given.skip(&[
        "AssumeRolePolicyDocument",
        "Description",
        "ManagedPolicyArns",
        "MaxSessionDuration",
    ]);
    let mut statements = Vec::new();
    for policy in given.list("Policies")? {
        let mut policy = Properties::new(&format!("{}.Policies", given.place()), policy)?;
        policy.skip(&["PolicyName"]);
        let document = policy
            .object("PolicyDocument")?
            .ok_or_else(|| policy.refuse("PolicyDocument is missing"))?;
        statements.extend(policy_statements(document)?);
        policy.finish()?;
    }
    given.finish()?;
    Ok(statements)
}

fn policy_statements(mut policy: Properties) -> Result<Vec<Statement>, TemplateError> {
    policy.skip(&["Version"]);
    let statements = match policy.take("Statement") {
        Some(Value::Array(statements)) => statements,
        Some(single @ Value::Object(_)) => vec![single],
        _ => return Err(policy.refuse("should be a document with statements: policy templates and names are too wide")),
    };
    let mut read = Vec::with_capacity(statements.len());
    for statement in statements {
        let mut statement = Properties::new(&format!("{}.Statement", policy.place()), statement)?;
        statement.skip(&["Sid"]);
        let effect = statement.required_text("Effect")?;
        read.push(Statement {
            allow: match effect.as_str() {
                "Allow" => true,
                "Deny" => false,
                _ => return Err(statement.refuse("Effect should be Allow or Deny")),
            },
            actions: statement.texts("Action")?,
            resources: statement.texts("Resource")?,
        });
        statement.finish()?;
    }
    policy.finish()?;
    Ok(read)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
