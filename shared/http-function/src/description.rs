//! What an operation takes and answers, told by its own types. The OpenAPI document is put together from these
//! descriptions; a function never reads its own.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Components, Content, HttpMethod, Info, OpenApi, Paths, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder,
};

/// Name of the security scheme of users' tokens.
pub const USER_TOKEN: &str = "userToken";
/// Name of the security scheme of services' tokens.
pub const SERVICE_TOKEN: &str = "serviceToken";
/// The role that an administrator's token has.
pub const ADMINISTRATOR: &str = "administrator";

type Schemas = Vec<(String, RefOr<Schema>)>;

/// Takes down the operations of one function.
#[derive(Default)]
pub struct Api {
    paths: Paths,
    schemas: Schemas,
}

/// One operation: methods on a path, who may call it, what it takes, what it answers.
#[must_use = "an operation is described when it is added to the Api"]
pub struct Operation {
    methods: Vec<HttpMethod>,
    path: &'static str,
    summary: &'static str,
    details: Option<&'static str>,
    securities: Vec<SecurityRequirement>,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    answers: BTreeMap<u16, Answers>,
    schemas: Schemas,
}

/// What is answered with one status.
#[derive(Default)]
struct Answers {
    descriptions: Vec<String>,
    /// By content type.
    contents: BTreeMap<&'static str, Vec<RefOr<Schema>>>,
}

impl Api {
    /// Adds an operation.
    pub fn add(&mut self, operation: Operation) {
        let Operation {
            methods,
            path,
            mut schemas,
            ..
        } = operation;
        self.schemas.append(&mut schemas);
        let has_input = operation.body.is_some() || !operation.parameters.is_empty();
        let mut answers = operation.answers;
        let mut refused = |status: StatusCode, what: &str| {
            let answer = answers.entry(status.as_u16()).or_default();
            if answer.descriptions.is_empty() {
                refusal(answer, what);
            }
        };
        if has_input {
            refused(
                StatusCode::BAD_REQUEST,
                "A field is missing or wrong; `error.fields` names it.",
            );
        }
        if !operation.securities.is_empty() {
            refused(StatusCode::UNAUTHORIZED, "No token, or one that proves nothing.");
            refused(StatusCode::FORBIDDEN, "Known, and not allowed to.");
        }
        refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "A fault of ours; please report the `request_id`.",
        );
        refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "Something that is needed does not answer. Nothing was lost; `Retry-After` says when to try again.",
        );
        let responses = answers
            .into_iter()
            .fold(ResponsesBuilder::new(), |responses, (status, answer)| {
                responses.response(status.to_string(), response(answer))
            });
        let mut described = OperationBuilder::new()
            .summary(Some(operation.summary))
            .description(operation.details)
            .parameters(Some(operation.parameters))
            .request_body(operation.body)
            .responses(responses);
        if !operation.securities.is_empty() {
            described = described.securities(Some(operation.securities));
        }
        self.paths.add_path_operation(path, methods, described);
    }

    /// The operations as a part of an OpenAPI document.
    #[must_use]
    pub fn into_document(self) -> OpenApi {
        let mut components = Components::new();
        components.schemas = self.schemas.into_iter().collect();
        let mut document = OpenApi::new(Info::new("CFMP", env!("CARGO_PKG_VERSION")), self.paths);
        document.components = Some(components);
        document
    }
}

/// Begins the description of what these methods do on this path, which is written slash-less as in the template. Who
/// says nothing else describes an operation for everybody.
pub fn operation<const N: usize>(methods: [Method; N], path: &'static str, summary: &'static str) -> Operation {
    Operation {
        methods: methods.iter().map(method).collect(),
        path,
        summary,
        details: None,
        securities: Vec::new(),
        parameters: Vec::new(),
        body: None,
        answers: BTreeMap::new(),
        schemas: Vec::new(),
    }
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

impl Operation {
    /// Says more than the summary: rules, side effects, what comes later.
    pub fn details(mut self, details: &'static str) -> Self {
        self.details = Some(details);
        self
    }

    /// Logged-in users may call it.
    pub fn for_users(self) -> Self {
        self.for_holders(USER_TOKEN, [])
    }

    /// Administrators may call it.
    pub fn for_administrators(self) -> Self {
        self.for_holders(USER_TOKEN, [ADMINISTRATOR])
    }

    /// Services may call it; together with [`Operation::for_users`], both.
    pub fn for_services(self) -> Self {
        self.for_holders(SERVICE_TOKEN, [])
    }

    fn for_holders<const N: usize>(mut self, scheme: &str, roles: [&str; N]) -> Self {
        self.securities.push(SecurityRequirement::new(scheme, roles));
        self
    }

    /// A parameter of the path.
    pub fn path<T: ToSchema>(mut self, name: &'static str, what: &'static str) -> Self {
        let schema = self.known::<T>();
        self.parameter(ParameterIn::Path, name, what, Required::True, schema)
    }

    /// A parameter of the query that may be left out, or left empty, which is the same.
    pub fn query<T: ToSchema>(mut self, name: &'static str, what: &'static str) -> Self {
        let schema = self.known::<T>();
        self.may_be_empty(name, what, schema)
    }

    fn may_be_empty(self, name: &'static str, what: &'static str, schema: impl Into<RefOr<Schema>>) -> Self {
        let empty = kernel::schema::text().max_length(Some(0));
        let schema = Schema::from(AnyOfBuilder::new().item(schema).item(empty).build());
        self.parameter(ParameterIn::Query, name, what, Required::False, schema)
    }

    /// `page` and `page_size`, as every list takes them.
    pub fn paged(self, default_size: u32) -> Self {
        let whole = |max: u32| {
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(1))
                .maximum(Some(max))
        };
        let size = whole(kernel::PageRequest::MAX_SIZE).default(Some(default_size.into()));
        self.may_be_empty("page", "Which page, from 1", whole(1_000_000))
            .may_be_empty("page_size", "Entries on a page", size)
    }

    /// `Idempotency-Key`: the same key with the same body answers the same and is done once.
    pub fn idempotent(mut self) -> Self {
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[!-~]+$"));
        let parameter = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .description(Some(
                "Makes a repetition harmless: the same key with the same body is done once, with another body refused.",
            ))
            .required(Required::False)
            .schema(Some(key));
        self.parameters.push(parameter.build());
        self
    }

    fn parameter(
        mut self,
        place: ParameterIn,
        name: &'static str,
        what: &'static str,
        required: Required,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .description(Some(what))
            .required(required)
            .schema(Some(schema.into()));
        self.parameters.push(parameter.build());
        self
    }

    /// A JSON body.
    pub fn body<T: ToSchema>(self) -> Self {
        self.takes::<T>("application/json", Required::True)
    }

    /// A JSON body that may be left out.
    pub fn optional_body<T: ToSchema>(self) -> Self {
        self.takes::<T>("application/json", Required::False)
    }

    /// A body of another type.
    pub fn body_of_type<T: ToSchema>(self, content_type: &'static str) -> Self {
        self.takes::<T>(content_type, Required::True)
    }

    fn takes<T: ToSchema>(mut self, content_type: &'static str, required: Required) -> Self {
        let schema = self.known::<T>();
        let body = RequestBodyBuilder::new()
            .content(content_type, Content::new(Some(schema)))
            .required(Some(required));
        self.body = Some(body.build());
        self
    }

    /// Answers 200 with `{"code": 200, "message": ..., "data": T}`.
    pub fn ok<T: ToSchema>(mut self, what: &'static str) -> Self {
        let data = self.known::<T>();
        self.json(StatusCode::OK, what, envelope(data))
    }

    /// Answers 201 with the same envelope, in which `code` stays 200.
    pub fn created<T: ToSchema>(mut self, what: &'static str) -> Self {
        let data = self.known::<T>();
        self.json(StatusCode::CREATED, what, envelope(data))
    }

    /// Answers 200 with a page of a list of `T`.
    pub fn list<T: ToSchema>(mut self, what: &'static str) -> Self {
        let entry = self.known::<T>();
        self.json(StatusCode::OK, what, list(entry, Vec::new()))
    }

    /// The same with members of its own beside `count`.
    pub fn list_with<T: ToSchema, const N: usize>(
        mut self,
        what: &'static str,
        more: [(&str, RefOr<Schema>); N],
    ) -> Self {
        let entry = self.known::<T>();
        self.json(StatusCode::OK, what, list(entry, more.into()))
    }

    /// Answers with a body that is a `T` and nothing around it.
    pub fn bare<T: ToSchema>(mut self, status: StatusCode, what: &'static str) -> Self {
        let schema = self.known::<T>();
        self.json(status, what, schema)
    }

    /// Answers with a body that is no JSON.
    pub fn answers_in(self, status: StatusCode, content_type: &'static str, what: &'static str) -> Self {
        let text = ObjectBuilder::new().schema_type(Type::String);
        self.answer(status, content_type, what, Some(RefOr::T(text.into())))
    }

    /// Answers with nothing but a status and headers, such as a redirect.
    pub fn answers_empty(self, status: StatusCode, what: &'static str) -> Self {
        self.answer(status, "", what, None)
    }

    /// Refuses with this status; `what` names the `error.type` slugs and says when.
    pub fn refuses(mut self, status: StatusCode, what: &'static str) -> Self {
        refusal(self.answers.entry(status.as_u16()).or_default(), what);
        self
    }

    fn json(self, status: StatusCode, what: &'static str, schema: RefOr<Schema>) -> Self {
        self.answer(status, "application/json", what, Some(schema))
    }

    fn answer(
        mut self,
        status: StatusCode,
        content_type: &'static str,
        what: &'static str,
        schema: Option<RefOr<Schema>>,
    ) -> Self {
        let answer = self.answers.entry(status.as_u16()).or_default();
        answer.descriptions.push(what.to_owned());
        if let Some(schema) = schema {
            answer.contents.entry(content_type).or_default().push(schema);
        }
        self
    }

    /// The schema of `T`: named in the document's components if it has a shape of its own.
    fn known<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        let schema = T::schema();
        let has_a_name = match &schema {
            RefOr::T(Schema::Object(object)) => !object.properties.is_empty() || object.enum_values.is_some(),
            RefOr::T(Schema::OneOf(_) | Schema::AllOf(_)) => true,
            _ => false,
        };
        if has_a_name {
            self.schemas.push((T::name().into_owned(), schema));
            Ref::from_schema_name(T::name()).into()
        } else {
            schema
        }
    }
}

fn refusal(answer: &mut Answers, what: &str) {
    answer.descriptions.push(what.to_owned());
    let problem = RefOr::Ref(Ref::from_schema_name("Refusal"));
    let schemas = answer.contents.entry("application/json").or_default();
    if !schemas.contains(&problem) {
        schemas.push(problem);
    }
}

fn response(answer: Answers) -> ResponseBuilder {
    let response = ResponseBuilder::new().description(answer.descriptions.join(" "));
    answer
        .contents
        .into_iter()
        .fold(response, |response, (content_type, mut schemas)| {
            let schema = match schemas.len() {
                1 => schemas.remove(0),
                _ => RefOr::T(
                    schemas
                        .into_iter()
                        .fold(OneOfBuilder::new(), OneOfBuilder::item)
                        .build()
                        .into(),
                ),
            };
            response.content(content_type, Content::new(Some(schema)))
        })
}

fn number(value: u16) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .enum_values(Some([value]))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn enveloped(data: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    ObjectBuilder::new()
        .property("code", number(200))
        .required("code")
        .property("message", text().description(Some("For people")))
        .required("message")
        .property("data", data)
        .required("data")
}

fn envelope(data: RefOr<Schema>) -> RefOr<Schema> {
    RefOr::T(enveloped(data).build().into())
}

fn list(entry: RefOr<Schema>, more: Vec<(&str, RefOr<Schema>)>) -> RefOr<Schema> {
    let link = || {
        ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::Array(vec![
            Type::String,
            Type::Null,
        ]))
    };
    let count = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let mut list = ObjectBuilder::new()
        .property("count", count.description(Some("Entries on all pages")))
        .required("count")
        .property("next", link().description(Some("URL of the next page")))
        .required("next")
        .property("previous", link().description(Some("URL of the page before")))
        .required("previous")
        .property(
            "results",
            enveloped(RefOr::T(ArrayBuilder::new().items(entry).build().into())),
        )
        .required("results");
    for (name, schema) in more {
        list = list.property(name, schema).required(name);
    }
    RefOr::T(list.build().into())
}

/// The envelope of refusals and failures: the schema `Refusal` of every document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refusal {
    /// The HTTP status.
    code: u16,
    /// For people.
    message: String,
    /// Always null.
    #[schema(required, value_type = Option<String>)]
    data: (),
    error: RefusalError,
    /// Names the request in the logs.
    request_id: String,
    /// What the log-in pages read.
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_code: Option<String>,
    /// What the log-in pages show.
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_msg: Option<String>,
}

/// What was wrong, for programs.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusalError {
    /// A stable slug.
    #[serde(rename = "type")]
    kind: String,
    /// Fields that have to be changed, and why.
    fields: BTreeMap<String, String>,
}

/// Prints what `describe` says as JSON.
#[cfg(debug_assertions)]
pub(crate) fn print(describe: impl FnOnce(&mut Api)) -> std::process::ExitCode {
    use std::io::Write as _;

    let mut api = Api::default();
    describe(&mut api);
    let mut schemas = Vec::new();
    Refusal::schemas(&mut schemas);
    schemas.push((
        Refusal::name().into_owned(),
        <Refusal as utoipa::PartialSchema>::schema(),
    ));
    api.schemas.append(&mut schemas);
    let written = serde_json::to_vec(&api.into_document())
        .map_err(std::io::Error::other)
        .and_then(|document| std::io::stdout().write_all(&document));
    match written {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(_) => std::process::ExitCode::FAILURE,
    }
}
