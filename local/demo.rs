//! Accounts and products to play with, in an empty store. They come about as everyone's do, over the HTTP API; only the
//! first administrator has nobody who could appoint him.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::Platform;
use crate::aws::mail::captcha;

/// Everyone's password.
const PASSWORD: &str = "cfmp-demo-1";
/// Who there is.
const PEOPLE: [&str; 3] = ["admin", "seller", "buyer"];
/// What the seller offers: title, description, price, stock, category, how it is handed over (0 sent, 1 fetched).
const PRODUCTS: [(&str, &str, &str, u32, &str, u8); 4] = [
    (
        "Desk lamp",
        "Warm light, little used, works with any USB charger.",
        "35.00",
        1,
        "home",
        0,
    ),
    (
        "Linear Algebra Done Right",
        "Third edition, pencil notes in the first two chapters.",
        "48.50",
        1,
        "books",
        0,
    ),
    (
        "City bicycle",
        "24 inch, new brakes. To be fetched at the north gate.",
        "320.00",
        1,
        "sports",
        1,
    ),
    (
        "Graph paper, 50 sheets",
        "Unopened packs, left over from a course.",
        "6.90",
        5,
        "stationery",
        0,
    ),
];
/// Logical id of the table that tells an empty store.
const USERS_TABLE: &str = "UsersTable";
/// Exists in the data folder while a demo is being set up, so that an interrupted one is finished by the next start.
const MARKER: &str = "demo-unfinished";

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A request was not answered as it should be.
    #[error("{request} was answered with {answer}")]
    Refused {
        /// The request.
        request: String,
        /// What came back.
        answer: String,
    },
    /// A request could not be made.
    #[error("{request}: {reason}")]
    Unanswered {
        /// The request.
        request: String,
        /// Why.
        reason: String,
    },
    /// The template has no table of users.
    #[error("the template has no {USERS_TABLE}")]
    NoUsers,
    /// The data folder.
    #[error("{}: {source}", file.display())]
    Data {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Sets the demo up if the store is empty.
pub(crate) async fn set_up(platform: &Platform, data: &Path) -> Result<(), DemoError> {
    let users = platform
        .template()
        .tables
        .get(USERS_TABLE)
        .ok_or(DemoError::NoUsers)?
        .name
        .clone();
    let marker = data.join(MARKER);
    let interrupted = marker.exists();
    if !interrupted {
        let found = dynamodb(platform, "Scan", json!({ "TableName": users, "Limit": 1 })).await?;
        if found["Count"] != 0 {
            return Ok(());
        }
    }
    let kept = |result: std::io::Result<()>| {
        result.map_err(|source| DemoError::Data {
            file: marker.clone(),
            source,
        })
    };
    kept(std::fs::write(&marker, ""))?;
    let demo = Demo {
        platform,
        client: Client::builder(TokioExecutor::new()).build_http(),
    };
    for person in PEOPLE {
        if !interrupted || demo.log_in(person).await?.is_none() {
            demo.register(person).await?;
        }
    }
    let administrator = demo
        .log_in("admin")
        .await?
        .ok_or_else(|| refused("log-in of admin", "no account"))?;
    let appointment = json!({
        "TableName": users,
        "Key": { "user_uuid": { "S": administrator.user_id } },
        "UpdateExpression": "SET privilege = :administrator",
        "ExpressionAttributeValues": { ":administrator": { "S": "administrator" } },
    });
    dynamodb(platform, "UpdateItem", appointment).await?;
    // Only the users' own code knows how a privilege is stored; a change there must not go unnoticed here.
    if demo
        .log_in("admin")
        .await?
        .is_none_or(|session| !session.is_administrator)
    {
        return Err(refused("appointment of the administrator", "privilege 0"));
    }
    let seller = demo
        .log_in("seller")
        .await?
        .ok_or_else(|| refused("log-in of seller", "no account"))?;
    demo.offer(&seller).await?;
    kept(std::fs::remove_file(&marker))
}

async fn dynamodb(platform: &Platform, operation: &str, body: Value) -> Result<Value, DemoError> {
    let (status, answer) = platform.dynamodb(operation, &body).await;
    if status.is_success() {
        Ok(answer)
    } else {
        Err(refused(operation, &answer.to_string()))
    }
}

struct Demo<'a> {
    platform: &'a Platform,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Someone who is logged in.
struct Session {
    user_id: String,
    token: String,
    is_administrator: bool,
}

impl Demo<'_> {
    async fn register(&self, person: &str) -> Result<(), DemoError> {
        let email = email(person);
        let wish = json!({ "scene": "register", "email": email });
        self.expect(Method::POST, "/api/v1/captcha", None, Some(wish)).await?;
        let captcha = self.captcha(&email)?;
        let registration = json!({
            "username": person,
            "password": PASSWORD,
            "password_repeat": PASSWORD,
            "email": email,
            "captcha": captcha,
        });
        self.expect(Method::POST, "/api/v1/auth/register", None, Some(registration))
            .await?;
        Ok(())
    }

    /// The six digits in the newest mail to `email`.
    fn captcha(&self, email: &str) -> Result<String, DemoError> {
        let mails = self
            .platform
            .aws()
            .mails()
            .map_err(|error| refused("reading mails", &error.to_string()))?;
        captcha(&mails, email).ok_or_else(|| refused("waiting for the captcha", "no mail with six digits"))
    }

    /// `None` when the account does not exist.
    async fn log_in(&self, person: &str) -> Result<Option<Session>, DemoError> {
        let path = "/api/v1/auth/login-with-password";
        let body = json!({ "email": email(person), "password": PASSWORD });
        let (status, answer) = self.send(Method::POST, path, None, Some(body)).await?;
        if status == 400 {
            return Ok(None);
        }
        match (answer["user_id"].as_str(), answer["access_token"].as_str()) {
            (Some(user_id), Some(token)) => Ok(Some(Session {
                user_id: user_id.to_owned(),
                token: token.to_owned(),
                is_administrator: answer["privilege"] == 1,
            })),
            _ => Err(refused(
                &format!("POST {path}"),
                &format!("{status} {}", answer["message"]),
            )),
        }
    }

    /// Puts up what the seller does not offer yet.
    async fn offer(&self, seller: &Session) -> Result<(), DemoError> {
        let shelf = self
            .expect(Method::GET, "/api/product?page_size=100", None, None)
            .await?;
        let offered = shelf["results"].as_array().cloned().unwrap_or_default();
        for (title, description, price, stock, category, function) in PRODUCTS {
            if offered.iter().any(|product| product["title"] == title) {
                continue;
            }
            let product = json!({
                "title": title,
                "description": description,
                "price": price,
                "stock": stock,
                "categories": [category],
                "function": function,
            });
            self.expect(Method::POST, "/api/product", Some(seller), Some(product))
                .await?;
        }
        Ok(())
    }

    async fn expect(
        &self,
        method: Method,
        path: &str,
        session: Option<&Session>,
        body: Option<Value>,
    ) -> Result<Value, DemoError> {
        let request = format!("{method} {path}");
        let (status, answer) = self.send(method, path, session, body).await?;
        if (200..300).contains(&status) {
            Ok(answer)
        } else {
            Err(refused(&request, &format!("{status} {answer}")))
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        session: Option<&Session>,
        body: Option<Value>,
    ) -> Result<(u16, Value), DemoError> {
        let name = format!("{method} {path}");
        let unanswered = |reason: String| DemoError::Unanswered {
            request: name.clone(),
            reason,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.platform.base_url()));
        if let Some(session) = session {
            request = request.header("authorization", format!("Bearer {}", session.token));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                body.to_string()
            }
            None => String::new(),
        };
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unanswered(error.to_string()))?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| unanswered(error.to_string()))?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| unanswered(error.to_string()))?;
        // What is no JSON is shown as it is.
        let body = body.to_bytes();
        let answer = serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body)));
        Ok((status, answer))
    }
}

fn email(person: &str) -> String {
    format!("{person}@cfmp.test")
}

fn refused(request: &str, answer: &str) -> DemoError {
    DemoError::Refused {
        request: request.to_owned(),
        answer: answer.to_owned(),
    }
}
