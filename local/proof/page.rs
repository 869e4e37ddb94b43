//! A page that its user has open: it is told by the WebSocket API, and asks for what it missed when it was away.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::market::{Market, MarketError, inside};

/// How often a page connects, and asks for what it missed, before it gives up.
const ATTEMPTS: usize = 8;
/// How long a page waits for an answer: longer than a hanging function may run on the platform.
const PATIENCE: Duration = Duration::from_secs(12);
/// What has come is read in less.
const AT_ONCE: Duration = Duration::from_millis(100);
/// What a page waits before it connects again, by the platform's clock.
const PAUSE: Duration = Duration::from_secs(3);

/// The buyer's page.
pub(super) struct Page {
    socket: WebSocketStream<TcpStream>,
}

impl Page {
    /// Connects, as often as it takes.
    pub(super) async fn opens(market: &Market) -> Result<Page, MarketError> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match tokio::time::timeout(PATIENCE, Page::connects(market)).await {
                Ok(Ok(page)) => return Ok(page),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => "no answer".clone_into(&mut last),
            }
            market.house.revive().await?;
            market.passes(PAUSE).await?;
        }
        Err(inside(format!("the page can not connect: {last}")))
    }

    async fn connects(market: &Market) -> Result<Page, MarketError> {
        let address = market.house.base_url().trim_start_matches("http://");
        let token = market.token(&market.buyer)?;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", &token)
            .finish();
        let url = format!("{}?{query}", market.websocket_url);
        let stream = TcpStream::connect(address).await.map_err(inside)?;
        let request = url.into_client_request().map_err(inside)?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(inside)?;
        Ok(Page { socket })
    }

    /// Whether it was told about this, without asking, by now.
    pub(super) async fn was_told(&mut self, about: &str) -> bool {
        let mut told = false;
        while let Some(message) = self.hears(AT_ONCE).await {
            told |= is_about(&message, about);
        }
        told
    }

    /// Asks for what it missed until it has everything, which has to be about this.
    pub(super) async fn knows(mut self, market: &Market, about: &str) -> Result<(), MarketError> {
        for _ in 0..ATTEMPTS {
            let (mut known, mut request) = (false, json!({"action": "resume", "last_id": null}));
            while self.socket.send(Message::text(request.to_string())).await.is_ok() {
                let resumed = loop {
                    match self.hears(PATIENCE).await {
                        Some(message) if message["type"] == "notification" => known |= is_about(&message, about),
                        Some(message) if message["type"] == "resumed" => break message,
                        // An error of the gateway's, or the end of the connection.
                        _ => break Value::Null,
                    }
                };
                if !resumed["next"].is_object() {
                    // Who was cut short loads the list.
                    if resumed.is_object() && (known || resumed["cut"] == true) {
                        return Ok(());
                    }
                    break;
                }
                request = resumed["next"].clone();
            }
            market.house.revive().await?;
            market.passes(PAUSE).await?;
            market.rests().await?;
            self = Page::opens(market).await?;
        }
        Err(inside("the page never hears of it"))
    }

    /// The next message, if it comes in time.
    async fn hears(&mut self, patience: Duration) -> Option<Value> {
        let next = async {
            loop {
                match self.socket.next().await? {
                    Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(patience, next).await.ok().flatten()
    }
}

fn is_about(message: &Value, about: &str) -> bool {
    message["data"]["related_id"] == about
}
