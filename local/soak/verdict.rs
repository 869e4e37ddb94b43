//! What is wrong when everything is over: with the books, with the ends that people wished for, with what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::host::Host;
use super::people::{self, People};
use super::{SoakError, Stage};
use crate::aws::mail::Mail;
use crate::books::{Archive, Books, Report, rows};
use crate::purchases::{Flow, Purchase};

/// Of each transition: what it is called in a notification, to the buyer and to the seller.
const PLACED: [&str; 2] = ["订单已提交", "您有新的订单"];
const PAID: [&str; 2] = ["支付成功", "买家已付款"];
const COMPLETED: [&str; 2] = ["交易完成"; 2];
const CANCELLED: [&str; 2] = ["订单已取消"; 2];
const REFUNDED: [&str; 2] = ["退款成功"; 2];
/// What starts the subject of a mail about an order, rather than one with a captcha.
const ABOUT_ORDERS: [&str; 4] = ["付款正在核对", "买家已付款", "退款成功", "退款待人工处理"];

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The order of the soak that it is about, where that is known.
    pub number: Option<u32>,
    /// What.
    pub found: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "order {number}: {}", self.found),
            None => write!(f, "{}", self.found),
        }
    }
}

#[derive(Debug, Deserialize)]
struct OrderRow {
    order_uuid: String,
    buyer_uuid: String,
    seller_uuid: String,
    status: String,
    paid: Option<Value>,
    #[serde(default)]
    refunds: Vec<SettledRow>,
}

#[derive(Debug, Deserialize)]
struct SettledRow {
    outcome: String,
}

#[derive(Debug, Deserialize)]
struct RefundRow {
    order_uuid: String,
    status: String,
}

#[derive(Debug, Deserialize)]
struct NotificationRow {
    user_uuid: String,
    notification_uuid: String,
    title: String,
    related_id: Option<String>,
}

/// What was found, and the books that it was found in.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) failures: Vec<Failure>,
    pub(super) report: Report,
    pub(super) notifications: usize,
    pub(super) mails: usize,
}

/// Where an order of this flow ends when its people could do all that they wanted; `None`: it is a race.
fn end(flow: Flow) -> Option<&'static str> {
    match flow {
        Flow::Completes
        | Flow::CompletesByTime
        | Flow::ChangesHisMind
        | Flow::PaysTwice
        | Flow::PaysTheOldOneFirst
        | Flow::PartBack => Some("completed"),
        Flow::CancelledUnpaid
        | Flow::CancelledWhilePaying
        | Flow::CancelledByBuyer
        | Flow::CancelledBySeller
        | Flow::Expires
        | Flow::ExpiresWhilePaying
        | Flow::PaysAfterCancelling
        | Flow::PaysAfterExpiry
        | Flow::PartAndRestBack
        | Flow::AllBack => Some("cancelled"),
        Flow::PaysAtTheLastMoment => None,
    }
}

/// Looks at everything.
pub(super) async fn look(stage: &Stage, purchases: &[Purchase]) -> Result<Verdict, SoakError> {
    let host = &stage.host;
    let now_ms = host.clock().now_ms();
    let put_up: BTreeMap<String, i64> = purchases
        .iter()
        .filter_map(|purchase| Some((purchase.product.clone()?, purchase.wish.stock)))
        .collect();
    // Nobody kills it now.
    let operator = host.operator();
    let report = Books::read_through(operator, &stage.template, now_ms)
        .await?
        .check(&put_up);
    let archive = Archive {
        operator,
        template: &stage.template,
    };
    let orders: Vec<OrderRow> = rows(&archive, "OrdersTable").await?;
    let refunds: Vec<RefundRow> = rows(&archive, "RefundsTable").await?;
    let told: Vec<NotificationRow> = rows(&archive, "NotificationsTable").await?;
    let mails = operator
        .get("/_local/mails")
        .await
        .map_err(super::host::HostError::from)?["mails"]
        .take();
    let mails: Vec<Mail> = serde_json::from_value(mails).map_err(super::host::HostError::from)?;

    let numbers: BTreeMap<&str, u32> = purchases
        .iter()
        .filter_map(|purchase| Some((purchase.order.as_deref()?, purchase.wish.number)))
        .collect();
    let mut found = Found {
        numbers: &numbers,
        failures: Vec::new(),
    };
    found.in_the_books(&report, purchases);
    found.of_ends(&report, purchases);
    found.of_tellings(&orders, &refunds, &told);
    found.of_notices(stage, &told);
    found.of_pages(stage, &told);
    found.of_mails(&stage.people, &told, &mails);
    found.in_queues(host).await?;
    Ok(Verdict {
        failures: found.failures,
        notifications: told.len(),
        mails: mails.len(),
        report,
    })
}

struct Found<'a> {
    numbers: &'a BTreeMap<&'a str, u32>,
    failures: Vec<Failure>,
}

impl Found<'_> {
    fn note(&mut self, about: &str, found: String) {
        let number = self.numbers.get(about).copied();
        self.failures.push(Failure { number, found });
    }

    fn in_the_books(&mut self, report: &Report, purchases: &[Purchase]) {
        for violation in &report.violations {
            // Whose it is stands somewhere in it, or is the product's or the payment's alone.
            let text = violation.to_string();
            let order = self.numbers.keys().find(|order| text.contains(*order)).copied();
            let by_product = || {
                let sold = |purchase: &&Purchase| purchase.product.as_ref().is_some_and(|id| text.contains(id));
                purchases
                    .iter()
                    .find(sold)
                    .and_then(|purchase| purchase.order.as_deref())
            };
            self.note(order.or_else(by_product).unwrap_or_default(), text);
        }
        for what in &report.for_people {
            let order = what.order();
            let is_wished = purchases
                .iter()
                .any(|purchase| purchase.order.as_deref() == Some(order) && purchase.trouble.needs_a_person);
            if !is_wished {
                self.note(
                    order,
                    format!("a person is called, and nothing that went wrong needs one: {what:?}"),
                );
            }
        }
        for (order, books) in report.orders.iter().filter(|(_, books)| books.unfinished) {
            self.note(order, format!("unfinished: {books:?}"));
        }
    }

    fn of_ends(&mut self, report: &Report, purchases: &[Purchase]) {
        for purchase in purchases {
            let Some(order) = purchase.order.as_deref() else {
                continue;
            };
            let Some(books) = report.orders.get(order) else {
                self.note(order, "its buyer was told of it, and it is not there".to_owned());
                continue;
            };
            // Who had to wait, or could not do something, may have come too late for the rest.
            let went_smoothly = purchase.notes.is_empty() && !purchase.trouble.needs_a_person;
            let wanted = end(purchase.wish.flow).filter(|_| went_smoothly);
            if wanted.is_some_and(|wanted| wanted != books.status) {
                let flow = purchase.wish.flow;
                self.note(order, format!("{flow:?} ended otherwise than it should: {books:?}"));
            }
        }
    }

    /// Both sides are told of every transition, once.
    fn of_tellings(&mut self, orders: &[OrderRow], refunds: &[RefundRow], told: &[NotificationRow]) {
        let mut counts: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
        for row in told {
            let about = row.related_id.as_deref().unwrap_or_default();
            *counts.entry((about, &row.user_uuid, &row.title)).or_default() += 1;
        }
        for order in orders {
            let id = order.order_uuid.as_str();
            let is = |status: &str| usize::from(order.status == status);
            let returned = refunds.iter();
            let returned = returned.filter(|refund| refund.order_uuid == id && refund.status == "succeeded");
            let settled = order.refunds.iter().filter(|refund| refund.outcome == "succeeded");
            let refunded = [returned.count(), settled.count()];
            let paid = usize::from(order.paid.is_some());
            let wanted = [
                (PLACED, [1, 1]),
                (PAID, [paid, paid]),
                (COMPLETED, [is("completed"); 2]),
                (CANCELLED, [is("cancelled"); 2]),
                (REFUNDED, refunded),
            ];
            for (titles, wanted) in wanted {
                for ((person, title), wanted) in [&order.buyer_uuid, &order.seller_uuid]
                    .into_iter()
                    .zip(titles)
                    .zip(wanted)
                {
                    let count = counts.get(&(id, person.as_str(), title)).copied().unwrap_or(0);
                    if count != wanted {
                        self.note(
                            id,
                            format!("{person} was told {title} {count} times instead of {wanted}"),
                        );
                    }
                }
            }
        }
    }

    /// What services tell comes once.
    fn of_notices(&mut self, stage: &Stage, told: &[NotificationRow]) {
        for notice in stage.notices().iter().filter(|notice| notice.is_taken) {
            let about = told.iter().filter(|row| row.related_id.as_ref() == Some(&notice.about));
            let count = about.count();
            if count != 1 {
                self.failures.push(Failure {
                    number: Some(notice.number),
                    found: format!("a service's notice {} is there {count} times", notice.about),
                });
            }
        }
    }

    /// Pages show what is there, to those whom it concerns.
    fn of_pages(&mut self, stage: &Stage, told: &[NotificationRow]) {
        let there: BTreeSet<(&str, &str)> = told
            .iter()
            .map(|row| (row.user_uuid.as_str(), row.notification_uuid.as_str()))
            .collect();
        for (person, id) in stage.shown() {
            if !there.contains(&(person.as_str(), id.as_str())) {
                self.note(
                    "",
                    format!("{person} was shown the notification {id}, which is not his"),
                );
            }
        }
    }

    /// Nobody is mailed more often than he was told.
    fn of_mails(&mut self, people: &People, told: &[NotificationRow], mails: &[Mail]) {
        for person in people.values() {
            let (id, email) = (person.id.to_string(), people::email(&person.name));
            for subject in ABOUT_ORDERS {
                let mailed = mails.iter();
                let mailed = mailed
                    .filter(|mail| mail.subject == subject && mail.to.contains(&email))
                    .count();
                let told = told
                    .iter()
                    .filter(|row| row.title == subject && row.user_uuid == id)
                    .count();
                if mailed > told {
                    self.note(
                        "",
                        format!("{email} had {mailed} mails {subject} of {told} notifications"),
                    );
                }
            }
        }
    }

    async fn in_queues(&mut self, host: &Host) -> Result<(), SoakError> {
        let (pending, _) = host.pending().await?;
        for queue in pending.queues.iter().filter(|queue| queue.total() > 0) {
            self.note("", format!("{} messages are left in {}", queue.total(), queue.name));
        }
        Ok(())
    }
}
