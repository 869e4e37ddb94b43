//! The few events that matter so much that whoever they concern is mailed as well: money arrived, went back, or needs a
//! person.
//!
//! A mail is sent at most once: whoever sends it takes it on first, and gives it back only if SES says that it was not
//! sent. Where nobody knows, it is not sent again; a person is told by the log. While UserService does not answer, or SES
//! refuses, the event stays in its queue.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Cloud, StartError};
use event_function::Delivery;
use kernel::{Timestamp, Zone};
use mail::{Mail, MailError, Mailer};
use notifications::error::NotificationError;
use notifications::news::News;
use notifications::notice::letter;
use notifications::notification::Kind;
use notifications::recipient::Recipients;
use notifications::table::Mailbag;
use notifications::wording::{Telling, What};
use notifications::{orders, wording};
use service_client::Services;

fn main() -> ExitCode {
    event_function::open_queue(PostOffice::from_env, mail_people)
}

struct PostOffice {
    mailbag: Mailbag,
    mailer: Mailer,
    services: Services,
    recipients: Recipients,
    zone: Zone,
    market: String,
}

impl PostOffice {
    async fn from_env(cloud: Cloud) -> Result<Self, StartError> {
        let services = Services::from_env(&cloud).await?;
        Ok(Self {
            mailbag: Mailbag::from_env(&cloud)?,
            mailer: Mailer::from_env(&cloud)?,
            recipients: Recipients::new(services.clone()),
            services,
            zone: cloud.settings().parsed("DISPLAY_UTC_OFFSET")?,
            market: cloud.settings().required("API_BASE_URL")?,
        })
    }
}

async fn mail_people(office: Arc<PostOffice>, delivery: Delivery<News>) -> Result<(), NotificationError> {
    let news = delivery.event;
    let order = match wording::order_to_look_up(&news.event) {
        Some(order) => orders::find(&office.services, order).await?,
        None => None,
    };
    for telling in wording::tellings(&news, order.as_ref(), office.zone) {
        let is_mailed = matches!(&telling.what, What::Notice(notice) if notice.is_mailed());
        if is_mailed {
            mail_one(&office, &telling, delivery.now).await?;
        }
    }
    Ok(())
}

async fn mail_one(office: &PostOffice, telling: &Telling, now: Timestamp) -> Result<(), NotificationError> {
    let (user, notification) = (telling.to, telling.id);
    if !office.mailbag.preferences(user).await?.of(Kind::Transaction).email {
        return Ok(());
    }
    let Some(contact) = office.recipients.contact(user).await? else {
        tracing::info!(%user, %notification, "nobody is there to be mailed");
        return Ok(());
    };
    let message = telling.notification(contact.language)?.message;
    let mail = Mail {
        to: &contact.email,
        subject: &message.title,
        text: &letter(&message.content, &office.market, contact.language)?,
    };
    if !office.mailbag.take_on(user, notification, now).await? {
        tracing::info!(%user, %notification, "was mailed before");
        return Ok(());
    }
    match office.mailer.send(mail).await {
        Ok(()) => Ok(()),
        Err(error @ MailError::NotSent(_)) => {
            office.mailbag.give_back(user, notification).await?;
            Err(error.into())
        }
        Err(error @ MailError::Unknown(_)) => {
            tracing::error!(%user, %notification, cause = %error, "a mail may be lost; it is not sent again");
            Ok(())
        }
    }
}
