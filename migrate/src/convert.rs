//! What becomes of a row here, by the rules. Pure: no time is read, nothing is stored.

use std::time::Duration;

use contracts::orders::CancelledBy;
use contracts::payments::{PaymentMethod, RefundReason, full_refund_id};
use kernel::{BuyerId, Money, OrderId, PaymentId, ProductId, Quantity, SellerId, Text, Timestamp, UserId};
use keys::Privilege;
use notifications::notification::{
    Content, Kind as NoticeKind, Message, Notification, RelatedData, RelatedId, Title, id_of,
};
use orders::delivery::{Particulars, SealedParticulars};
use orders::order::{self, Line, Order, Paid, REMINDER_AHEAD, State, TIME_TO_OBJECT, TIME_TO_PAY};
use payments::head::Head;
use payments::ledger::{Ledger, LedgerError};
use payments::legacy::BY_HAND;
use payments::payment::{self, Payment};
use payments::provider::{CURRENCY, Channel, ProviderName, Receipt};
use payments::refund::{Refund, RefundStatus};
use products::product::{Handover, Listing, Product, Seller};
use products::review::Ratings;
use products::stock::{self, Reservation};
use users::address::Address;
use users::email::Email;
use users::password::PasswordHash;
use users::user::{Status as AccountStatus, User, Username};
use uuid::Uuid;

use crate::fernet::{Field, SecretKey};
use crate::identity::Entity;
use crate::legacy::{self, When};
use crate::rules::{Finding, Kind, Notes, Rules};

/// 2000-01-01T00:00:00Z: nothing of these systems is older.
const OLDEST: Timestamp = Timestamp::from_millis(946_684_800_000);
/// What stands for a text that is needed and not there.
const DASH: &str = "—";
/// What stands for a field that can not be decrypted.
const UNREADABLE: &str = "无法解密";
/// Why an order was cancelled that was overdue when it was moved; as OrderService says it.
const NOT_PAID_IN_TIME: &str = "未在规定时间内支付";
/// Why one was cancelled whose product somebody else has.
const NOT_IN_STOCK: &str = "商品已售出";

/// How rows are judged.
#[derive(Debug)]
pub struct Context<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// The older system's key.
    pub key: &'a SecretKey,
    /// When the run began.
    pub now: Timestamp,
    /// Whether orders that are under way stay behind: a run ahead of the switch.
    pub ahead: bool,
    /// What comes before the names of pictures that are no URLs, such as `https://media.example.edu/`.
    pub media: &'a str,
}

/// What becomes of a row.
#[derive(Debug)]
pub struct Converted<T> {
    /// It, unless it is left out.
    pub item: Option<T>,
    /// What was found about it.
    pub findings: Vec<Finding>,
    /// Whether it only waits for the switch.
    pub held_back: bool,
}

impl<T> Converted<T> {
    fn of(item: Option<T>, notes: Notes<'_>) -> Self {
        Self {
            item: item.filter(|_| !notes.is_left_out()),
            findings: notes.findings,
            held_back: false,
        }
    }
}

/// An account, with what is still to be sealed.
#[derive(Debug)]
pub struct MovedUser {
    /// The account, without its address.
    pub user: User,
    /// Where he lives.
    pub address: Address,
}

/// An order with everything that belongs to it.
#[derive(Debug)]
pub struct MovedOrder {
    /// The order; its particulars are still to be sealed.
    pub order: Order,
    /// What is sealed.
    pub particulars: Particulars,
    /// All attempts to pay it.
    pub payments: Vec<Payment>,
    /// Refunds, made or waiting for a person.
    pub refunds: Vec<Refund>,
    /// What is known about all attempts.
    pub head: Option<Head>,
    /// What it holds.
    pub reservations: Vec<Reservation>,
}

/// Whose names are taken: decided by whoever was there first.
pub trait Names {
    /// Whether this account may have the address: it has it, or nobody does.
    fn may_have_email(&mut self, id: u64, email: &str) -> bool;
    /// Whether this account may have the name.
    fn may_have_name(&mut self, id: u64, name: &str) -> bool;
}

/// What becomes of an account.
pub fn user(row: &legacy::User, names: &mut dyn Names, context: &Context<'_>) -> Converted<MovedUser> {
    let mut notes = Notes::about(context.rules, Entity::User, row.id);
    let nowhere = || format!("user-{}@migrated.invalid", row.id);
    let email: Option<Email> = match row.email.parse::<Email>() {
        Err(_) => {
            notes.note(Kind::BadEmail, "no address", Some(row.email.clone()));
            nowhere().parse().ok()
        }
        Ok(email) if !names.may_have_email(row.id, email.as_str()) => {
            notes.note(
                Kind::DuplicateEmail,
                "an older account has this address",
                Some(row.email.clone()),
            );
            nowhere().parse().ok()
        }
        Ok(email) => Some(email),
    }
    .or_else(|| nowhere().parse().ok());
    let username = username(row, names, &mut notes);
    let password = PasswordHash::imported(&row.password).unwrap_or_else(|| {
        notes.note(Kind::BadPassword, "not a hash of pbkdf2_sha256", None);
        PasswordHash::of_nobody()
    });
    let created_at = moment(&[("created_at", &row.created_at)], context, &mut notes);
    let status = match row.status {
        0 => AccountStatus::Normal,
        1 => AccountStatus::Banned,
        other => {
            notes.note(Kind::UnknownStatus, format!("status {other}"), None);
            AccountStatus::Normal
        }
    };
    let privilege = match row.privilege {
        1 => Privilege::Administrator,
        _ => Privilege::Member,
    };
    let address = optional::<0, 200>("address", row.address.as_deref(), &mut notes);
    let item = (|| {
        Some(MovedUser {
            user: User {
                id: Entity::User.uuid(row.id).into(),
                username: username?,
                email: email?,
                password,
                status,
                privilege,
                avatar: row
                    .avatar
                    .as_deref()
                    .filter(|name| !name.is_empty())
                    .map(|name| media(context, name)),
                address: None,
                language: users::user::Language::default(),
                revoked_at: None,
                created_at: created_at?,
                version: 1,
            },
            address: address?,
        })
    })();
    Converted::of(item, notes)
}

fn username(row: &legacy::User, names: &mut dyn Names, notes: &mut Notes<'_>) -> Option<Username> {
    let name = match row.username.parse::<Username>() {
        Ok(name) => name.as_str().to_owned(),
        Err(_) => {
            notes.note(Kind::BadName, "spaces, or nothing", Some(row.username.clone()));
            let visible: String = row
                .username
                .trim()
                .chars()
                .filter(|c| !c.is_control())
                .map(|c| if c.is_whitespace() { '_' } else { c })
                .take(30)
                .collect();
            match visible.is_empty() {
                true => format!("user{}", row.id),
                false => visible,
            }
        }
    };
    if names.may_have_name(row.id, &name) {
        return name.parse().ok();
    }
    notes.note(
        Kind::DuplicateName,
        "an older account has this name",
        Some(row.username.clone()),
    );
    let suffix = format!("_{}", row.id);
    let kept: String = name.chars().take(30_usize.saturating_sub(suffix.len())).collect();
    let numbered = format!("{kept}{suffix}");
    names.may_have_name(row.id, &numbered);
    numbered.parse().ok()
}

/// What becomes of a product.
pub fn product(row: &legacy::Product, context: &Context<'_>) -> Converted<Product> {
    let mut notes = Notes::about(context.rules, Entity::Product, row.id);
    let seller = row.seller.clone();
    if seller.is_none() {
        notes.leave_out(Kind::Orphan, "no seller");
    }
    let price = row
        .price
        .and_then(|fen| Money::from_fen(fen).and_then(Money::positive).ok());
    if price.is_none() {
        notes.leave_out(Kind::AmountOutOfRange, "price");
    }
    let (listing, stock) = match row.status {
        0 => (Listing::OnSale, u32::from(!row.held)),
        1 => (Listing::Banned, u32::from(!row.held)),
        2 => (Listing::OnSale, 0),
        3 => (Listing::Unreviewed, u32::from(!row.held)),
        other => {
            notes.leave_out(Kind::UnknownStatus, format!("status {other}"));
            (Listing::Banned, 0)
        }
    };
    let title = required::<1, 100>("title", Some(&row.title), &mut notes);
    let description = required::<1, 5000>("description", Some(&row.description), &mut notes);
    let created_at = moment(&[("created_at", &row.created_at)], context, &mut notes);
    let (tenths, count) = row.rating;
    let item = (|| {
        let (seller, name) = seller?;
        Some(Product {
            id: Entity::Product.uuid(row.id).into(),
            seller: Seller {
                id: SellerId::from(seller),
                username: name,
            },
            title: title?.into_string(),
            name: None,
            description: description?.into_string(),
            price: price?,
            stock,
            listing,
            handover: u64::try_from(row.function)
                .ok()
                .and_then(Handover::from_number)
                .unwrap_or_default(),
            pictures: row.media.iter().map(|name| media(context, name)).collect(),
            categories: row.categories.clone(),
            visit_count: row.visit_count,
            ratings: Ratings {
                count,
                stars: (tenths * count + 5) / 10,
            },
            created_at: created_at?,
            updated_at: created_at?,
            version: 1,
        })
    })();
    Converted::of(item, notes)
}

/// What becomes of a row of `collection`.
pub fn collection(row: &legacy::Collection, context: &Context<'_>) -> Converted<(UserId, ProductId, Timestamp)> {
    let mut notes = Notes::about(context.rules, Entity::Collection, row.id);
    if row.user.is_none() || row.product.is_none() {
        notes.leave_out(Kind::Orphan, "its user or its product is not there");
    }
    let created_at = moment(&[("created_at", &row.created_at)], context, &mut notes);
    let item = (|| Some((row.user?.into(), row.product?.into(), created_at?)))();
    Converted::of(item, notes)
}

/// What becomes of a notification, or of a message of the market.
pub fn notification(row: &legacy::Notification, entity: Entity, context: &Context<'_>) -> Converted<Notification> {
    let mut notes = Notes::about(context.rules, entity, row.id);
    if row.user.is_none() {
        notes.leave_out(Kind::Orphan, "its user is not there");
    }
    let kind = match row.kind {
        0 => Some(NoticeKind::Transaction),
        1 => Some(NoticeKind::System),
        2 => Some(NoticeKind::Promotion),
        other => {
            notes.leave_out(Kind::UnknownStatus, format!("type {other}"));
            None
        }
    };
    let title: Option<Title> = required("title", Some(&row.title), &mut notes);
    let content: Option<Content> = required("content", Some(&row.content), &mut notes);
    let related_id = row.related_id.as_deref().filter(|id| !id.trim().is_empty());
    let related_id: Option<RelatedId> = related_id.and_then(|id| required("related_id", Some(id), &mut notes));
    let related_data = row
        .related_data
        .as_deref()
        .filter(|json| !matches!(json.trim(), "" | "null" | "{}"));
    let related_data = related_data.and_then(|json| match serde_json::from_str::<RelatedData>(json) {
        Ok(data) => Some(data),
        Err(_) => {
            notes.note(Kind::BadData, "related_data", Some(json.to_owned()));
            None
        }
    });
    let created_at = moment(
        &[("created_at", &row.created_at), ("read_at", &row.read_at)],
        context,
        &mut notes,
    );
    let item = (|| {
        let (kind, created_at) = (kind?, created_at?);
        let cause = format!("{}:{}", entity.table(), row.id);
        Some(Notification {
            id: id_of(kind, created_at, &["legacy", &cause]),
            user: row.user?.into(),
            message: Message {
                kind,
                title: title?.into_string(),
                content: content?.into_string(),
                related_id: related_id.map(Text::into_string),
                related_data,
            },
            created_at,
            read_at: row.read.then(|| {
                row.read_at
                    .moment()
                    .filter(|at| *at >= created_at)
                    .unwrap_or(created_at)
            }),
            era: 0,
            push: false,
        })
    })();
    Converted::of(item, notes)
}

/// Where an order of the older systems stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Pending,
    Paid,
    Completed,
    Cancelled,
}

/// What becomes of an order.
pub fn order(row: &legacy::Order, context: &Context<'_>) -> Converted<MovedOrder> {
    let mut notes = Notes::about(context.rules, Entity::Order, row.id);
    let item = moved_order(row, context, &mut notes);
    let is_under_way = item
        .as_ref()
        .is_some_and(|moved| matches!(moved.order.state, State::PendingPayment { .. } | State::Paid { .. }));
    let mut converted = Converted::of(item, notes);
    if context.ahead && is_under_way && converted.item.is_some() {
        converted.item = None;
        converted.findings = Vec::new();
        converted.held_back = true;
    }
    converted
}

fn moved_order(row: &legacy::Order, context: &Context<'_>, notes: &mut Notes<'_>) -> Option<MovedOrder> {
    let id = OrderId::from(row.uuid);
    if row.buyer.is_none() {
        notes.leave_out(Kind::Orphan, "its buyer is not there");
    }
    let seller = seller_of(row, notes);
    let total = row
        .total
        .and_then(|fen| Money::from_fen(fen).and_then(Money::positive).ok());
    if total.is_none() {
        notes.leave_out(Kind::AmountOutOfRange, "total_amount");
    }
    let lines = lines(row, context, notes);
    let created_at = moment(
        &[
            ("created_at", &row.created_at),
            ("updated_at", &row.updated_at),
            ("payment_time", &row.payment_time),
        ],
        context,
        notes,
    );
    let particulars = particulars(row, context, notes);
    let cancel_reason = optional::<0, 500>("cancel_reason", row.cancel_reason.as_deref(), notes);
    let (total, created_at) = (total?, created_at?);
    if let Some(lines) = &lines {
        let sum = lines.iter().try_fold(0_i64, |sum, line| {
            line.price
                .fen()
                .checked_mul(i64::from(line.quantity.get()))
                .and_then(|price| sum.checked_add(price))
        });
        if sum != Some(total.fen()) && !lines.is_empty() {
            notes.note(
                Kind::TotalDiffers,
                format!("{total} is charged, the items make {} fen", sum.unwrap_or(0)),
                None,
            );
        }
    }
    let updated_at = between(&row.updated_at, created_at, context.now, "updated_at", notes).unwrap_or(created_at);
    let mut standing = match row.status {
        0 => Standing::Pending,
        1 => Standing::Paid,
        2 => Standing::Completed,
        3 => Standing::Cancelled,
        other => {
            notes.leave_out(Kind::UnknownStatus, format!("status {other}"));
            return None;
        }
    };

    let mut money = Attempts::of(row, total, created_at, context, notes)?;
    let is_paid = !money.succeeded.is_empty();
    if standing == Standing::Pending && is_paid {
        notes.note(
            Kind::PendingButPaid,
            format!("{} payment(s)", money.succeeded.len()),
            None,
        );
        standing = Standing::Paid;
    }
    if matches!(standing, Standing::Paid | Standing::Completed) && !is_paid {
        notes.note(Kind::PaidWithoutPayment, "no payment succeeded", None);
        money.make_up(row, id, total, created_at, updated_at);
    }
    let (mut cancelled_by, mut reason) = (
        CancelledBy::Buyer,
        cancel_reason.map(Text::into_string).unwrap_or_default(),
    );
    let mut ended_at = updated_at;
    if standing == Standing::Pending {
        let expires_at = created_at.plus(TIME_TO_PAY);
        if expires_at <= context.now {
            notes.note(Kind::OverduePending, "since it was placed", None);
            (standing, cancelled_by, reason, ended_at) = (
                Standing::Cancelled,
                CancelledBy::Timeout,
                NOT_PAID_IN_TIME.to_owned(),
                expires_at,
            );
        } else if row.too_late {
            notes.note(Kind::PendingWithoutStock, "somebody else has its product", None);
            (standing, cancelled_by, reason, ended_at) = (
                Standing::Cancelled,
                CancelledBy::Service,
                NOT_IN_STOCK.to_owned(),
                context.now,
            );
        }
    }
    if standing == Standing::Cancelled && !money.succeeded.is_empty() {
        notes.note(
            Kind::CancelledButPaid,
            format!("{} payment(s)", money.succeeded.len()),
            None,
        );
    }
    if money.succeeded.len() > 1 {
        notes.note(
            Kind::SeveralPayments,
            format!("{} of them", money.succeeded.len()),
            None,
        );
    }
    if notes.is_left_out() {
        return None;
    }

    let (buyer, seller, lines, particulars) = (row.buyer?, seller?, lines?, particulars?);
    let settled = money.settle(standing, ended_at, context.now).ok();
    let Some((paid, payments, refunds)) = settled else {
        notes.leave_out(Kind::PaymentDiffers, "its payments do not add up");
        return None;
    };
    let state = match (standing, paid) {
        (Standing::Pending, _) => State::PendingPayment {
            // A full time to pay from the move on: the older system's page for it is gone.
            expires_at: context.now.plus(TIME_TO_PAY),
        },
        (Standing::Paid, Some(paid)) => State::Paid {
            paid,
            completes_at: paid.at.plus(TIME_TO_OBJECT).max(context.now.plus(REMINDER_AHEAD * 2)),
            reminded: false,
        },
        (Standing::Completed, Some(paid)) => State::Completed { paid, at: updated_at },
        (Standing::Cancelled, paid) => State::Cancelled {
            paid,
            by: cancelled_by,
            reason,
            at: ended_at,
        },
        (Standing::Paid | Standing::Completed, None) => return None,
    };
    let holds = row.has_products && standing != Standing::Cancelled;
    let reservations = match holds {
        true => reservations(id, &lines, created_at),
        false => Vec::new(),
    };
    let order = Order {
        id,
        legacy_id: Some(row.id),
        buyer: BuyerId::from(buyer),
        seller: SellerId::from(seller),
        lines,
        total,
        particulars: SealedParticulars::from_stored(String::new()),
        intended_method: row.method.and_then(method),
        placed_at: created_at,
        updated_at: updated_at.max(ended_at).min(context.now.max(updated_at)),
        state,
        refunds: refunds
            .iter()
            .map(|refund| order::Refund {
                refund_uuid: refund.id,
                payment_uuid: refund.payment,
                amount: refund.amount,
                reason: refund.reason,
                outcome: match refund.status {
                    RefundStatus::Succeeded => order::RefundOutcome::Succeeded,
                    RefundStatus::Requested | RefundStatus::Processing | RefundStatus::NeedsHuman => {
                        order::RefundOutcome::NeedsAttention
                    }
                },
                words: String::new(),
                fingerprint: None,
            })
            .collect(),
        fingerprint: None,
        hidden: false,
        version: 1,
    };
    let user = UserId::from(buyer);
    let payments: Vec<Payment> = payments
        .into_iter()
        .map(|payment| Payment { user, ..payment })
        .collect();
    let refunds = refunds.into_iter().map(|refund| Refund { user, ..refund }).collect();
    Some(MovedOrder {
        head: head(id, user, &payments),
        order,
        particulars,
        payments,
        refunds,
        reservations,
    })
}

fn seller_of(row: &legacy::Order, notes: &mut Notes<'_>) -> Option<Uuid> {
    if row.names_seller {
        if row.seller.is_none() || row.items.is_empty() {
            notes.leave_out(Kind::OrderWithoutSeller, "no seller_uuid, or no items");
        }
        return row.seller;
    }
    let mut sellers: Vec<Uuid> = row.items.iter().filter_map(|item| item.seller).collect();
    sellers.sort_unstable();
    sellers.dedup();
    if row.items.is_empty() || row.items.iter().any(|item| item.seller.is_none()) {
        notes.leave_out(Kind::OrderWithoutSeller, "no items, or products without a seller");
        return None;
    }
    if sellers.len() > 1 {
        notes.leave_out(Kind::SeveralSellers, format!("{} sellers", sellers.len()));
    }
    sellers.first().copied()
}

fn lines(row: &legacy::Order, context: &Context<'_>, notes: &mut Notes<'_>) -> Option<Vec<Line>> {
    let mut lines = Vec::with_capacity(row.items.len());
    for item in &row.items {
        let price = item.price.and_then(|fen| Money::from_fen(fen).ok());
        let quantity = u64::try_from(item.quantity)
            .ok()
            .and_then(|count| Quantity::new(count).ok());
        let (Some(price), Some(quantity)) = (price, quantity) else {
            notes.leave_out(Kind::AmountOutOfRange, format!("item {}", item.id));
            return None;
        };
        let Some(product) = item.product else {
            notes.leave_out(
                Kind::OrderWithoutSeller,
                format!("the product of item {} is not there", item.id),
            );
            return None;
        };
        lines.push(Line {
            product_uuid: product.into(),
            title: required::<1, 100>("title of an item", Some(&item.title), notes)?.into_string(),
            image: match item.image.is_empty() {
                true => String::new(),
                false => media(context, &item.image),
            },
            price,
            quantity,
        });
    }
    Some(lines)
}

fn particulars(row: &legacy::Order, context: &Context<'_>, notes: &mut Notes<'_>) -> Option<Particulars> {
    let mut open = |what: &str, field: &Option<String>| match field.as_deref().map(|text| context.key.read(text)) {
        None => String::new(),
        Some(Field::Plain(text)) => text,
        Some(Field::Sealed) => {
            notes.note(Kind::TokenDoesNotDecrypt, what, field.clone());
            UNREADABLE.to_owned()
        }
    };
    let (name, phone, address) = (
        open("shipping_name", &row.name),
        open("shipping_phone", &row.phone),
        open("shipping_address", &row.address),
    );
    // A phone has three characters at least here.
    let phone = match phone.trim().chars().count() {
        0 => String::new(),
        1 | 2 => format!("{DASH}{DASH}{}", phone.trim()),
        _ => phone,
    };
    let phone_or_dashes = match phone.is_empty() {
        true => DASH.repeat(3),
        false => phone.clone(),
    };
    if phone.is_empty() {
        notes.note(Kind::TextMissing, "shipping_phone", None);
    }
    Some(Particulars {
        shipping_name: required("shipping_name", Some(&name), notes)?,
        shipping_phone: required("shipping_phone", Some(&phone_or_dashes), notes)?,
        shipping_address: required("shipping_address", Some(&address), notes)?,
        shipping_postal_code: row
            .postal_code
            .as_deref()
            .filter(|code| !code.trim().is_empty())
            .and_then(|code| optional("shipping_postal_code", Some(code), notes)),
        remark: row
            .remark
            .as_deref()
            .filter(|words| !words.trim().is_empty())
            .and_then(|words| optional("remark", Some(words), notes)),
    })
}

fn reservations(order: OrderId, lines: &[Line], created_at: Timestamp) -> Vec<Reservation> {
    let mut reservations: Vec<Reservation> = Vec::with_capacity(lines.len());
    for line in lines {
        let same = reservations
            .iter_mut()
            .find(|known| known.claim.product == line.product_uuid);
        match same {
            // Two items of one product are one reservation.
            Some(known) => {
                let pieces = u64::from(known.claim.quantity.get()) + u64::from(line.quantity.get());
                if let Ok(quantity) = Quantity::new(pieces) {
                    known.claim.quantity = quantity;
                }
            }
            None => reservations.push(Reservation {
                claim: stock::Claim {
                    order,
                    product: line.product_uuid,
                    quantity: line.quantity,
                },
                state: stock::State::Reserved { due_at: None },
                created_at,
                version: 1,
            }),
        }
    }
    reservations
}

/// What paid an order, all its payments, and their refunds.
type Settled = (Option<Paid>, Vec<Payment>, Vec<Refund>);

/// All attempts to pay one order.
struct Attempts {
    /// In the order of their ids; as they would be if nothing had come of the order.
    all: Vec<Payment>,
    /// Those that succeeded, the earliest first.
    succeeded: Vec<PaymentId>,
    /// Those whose money went back.
    returned: Vec<PaymentId>,
}

impl Attempts {
    fn of(
        row: &legacy::Order,
        total: Money,
        placed_at: Timestamp,
        context: &Context<'_>,
        notes: &mut Notes<'_>,
    ) -> Option<Self> {
        let mut attempts = Self {
            all: Vec::with_capacity(row.payments.len()),
            succeeded: Vec::new(),
            returned: Vec::new(),
        };
        let mut paid_at = Vec::new();
        for old in &row.payments {
            if old.user_key != row.buyer_key {
                notes.note(Kind::ForeignPayment, format!("payment {}", old.id), None);
            }
            let amount = old
                .amount
                .and_then(|fen| Money::from_fen(fen).and_then(Money::positive).ok());
            let (Some(amount), Some(method)) = (amount, method(old.method)) else {
                notes.leave_out(Kind::AmountOutOfRange, format!("payment {}", old.id));
                return None;
            };
            let what = format!("created_at of payment {}", old.id);
            let created_at = between(&old.created_at, OLDEST, context.now, &what, notes).unwrap_or(placed_at);
            let what = format!("paid_at of payment {}", old.id);
            let came_at = between(&old.paid_at, OLDEST, context.now, &what, notes).unwrap_or(created_at);
            let expires_at = old.expires_at.moment().filter(|at| *at >= created_at);
            let receipt = || Receipt {
                trade_no: old.transaction.clone().unwrap_or_else(|| format!("legacy-{}", old.id)),
                amount,
                currency: CURRENCY.to_owned(),
                paid_at: came_at,
            };
            let id = PaymentId::from(old.uuid);
            // The split services wrote a refunded payment as failed.
            let is_returned = old.status == 3 && old.paid_at.moment().is_some();
            let (state, ledger) = match old.status {
                // The page on which it could be paid is gone with the older system.
                0 | 1 | 4 => (payment::State::Closed { last_look: None }, Ledger::default()),
                2 => {
                    if amount != total {
                        notes.leave_out(
                            Kind::PaymentDiffers,
                            format!("payment {}: {amount} for {total}", old.id),
                        );
                    }
                    paid_at.push((came_at, id));
                    (
                        payment::State::Paid { receipt: receipt() },
                        Ledger::default().hold(amount, came_at),
                    )
                }
                3 if is_returned => {
                    attempts.returned.push(id);
                    (
                        payment::State::Paid { receipt: receipt() },
                        Ledger::default().hold(amount, came_at),
                    )
                }
                3 => (payment::State::Failed, Ledger::default()),
                other => {
                    notes.leave_out(Kind::UnknownStatus, format!("payment {}: status {other}", old.id));
                    return None;
                }
            };
            let subject = cut::<100>(&old.subject);
            attempts.all.push(Payment {
                id,
                order: row.uuid.into(),
                user: row.buyer.unwrap_or_default().into(),
                amount,
                method,
                channel: Channel::Page,
                provider: ProviderName::Legacy,
                subject,
                created_at,
                updated_at: came_at.max(created_at),
                expires_at: expires_at.unwrap_or_else(|| created_at.plus(TIME_TO_PAY)),
                state,
                ledger,
                checks: 0,
                fingerprint: None,
                version: 1,
            });
        }
        paid_at.sort_unstable();
        attempts.succeeded = paid_at.into_iter().map(|(_, id)| id).collect();
        Some(attempts)
    }

    /// A payment that the order says there was.
    fn make_up(
        &mut self,
        row: &legacy::Order,
        order: OrderId,
        total: Money,
        placed_at: Timestamp,
        updated_at: Timestamp,
    ) {
        let at = row
            .payment_time
            .moment()
            .filter(|at| *at >= placed_at && *at <= updated_at)
            .unwrap_or(placed_at);
        let id = PaymentId::derived(&["legacy", "made-up", &order.to_string()]);
        self.all.push(Payment {
            id,
            order,
            user: row.buyer.unwrap_or_default().into(),
            amount: total,
            method: row.method.and_then(method).unwrap_or(PaymentMethod::Alipay),
            channel: Channel::Page,
            provider: ProviderName::Legacy,
            subject: String::new(),
            created_at: at,
            updated_at: at,
            expires_at: at.plus(TIME_TO_PAY),
            state: payment::State::Paid {
                receipt: Receipt {
                    trade_no: format!("legacy-order-{}", row.id),
                    amount: total,
                    currency: CURRENCY.to_owned(),
                    paid_at: at,
                },
            },
            ledger: Ledger::default().hold(total, at),
            checks: 0,
            fingerprint: None,
            version: 1,
        });
        self.succeeded.push(id);
    }

    /// Divides the money as the order has ended: the first payment that succeeded is the seller's if the order is completed,
    /// and held while it is paid; of every other one, and of those of a cancelled order, a refund waits for a person.
    fn settle(mut self, standing: Standing, ended_at: Timestamp, now: Timestamp) -> Result<Settled, LedgerError> {
        let (first, mut refunds, mut paid) = (self.succeeded.first().copied(), Vec::new(), None);
        let (succeeded, returned) = (std::mem::take(&mut self.succeeded), std::mem::take(&mut self.returned));
        for payment in &mut self.all {
            let Some(receipt) = payment.receipt().cloned() else {
                continue;
            };
            let is_returned = returned.contains(&payment.id);
            let pays = first == Some(payment.id) || (first.is_none() && returned.first() == Some(&payment.id));
            if pays && (standing != Standing::Pending) {
                paid = Some(Paid {
                    payment_uuid: payment.id,
                    method: payment.method,
                    at: receipt.paid_at,
                });
            }
            let keeps = first == Some(payment.id) && matches!(standing, Standing::Paid | Standing::Completed);
            if keeps {
                if standing == Standing::Completed {
                    let released = payment.ledger.release(payment.amount, ended_at)?;
                    payment.ledger = released.unwrap_or_else(|| payment.ledger.clone());
                }
                continue;
            }
            if !is_returned && !succeeded.contains(&payment.id) {
                continue;
            }
            let id = full_refund_id(payment.id);
            payment.ledger = payment.ledger.reserve(payment.amount)?;
            if is_returned {
                let refunded = payment.ledger.refund(id, payment.amount, ended_at)?;
                payment.ledger = refunded.unwrap_or_else(|| payment.ledger.clone());
            }
            refunds.push(Refund {
                id,
                payment: payment.id,
                order: payment.order,
                user: payment.user,
                amount: payment.amount,
                paid: payment.amount,
                reason: match pays {
                    true => RefundReason::OrderCancelled,
                    false => RefundReason::PaidTwice,
                },
                provider: ProviderName::Legacy,
                created_at: ended_at,
                updated_at: ended_at,
                status: match is_returned {
                    true => RefundStatus::Succeeded,
                    false => RefundStatus::NeedsHuman,
                },
                remark: (!is_returned).then(|| BY_HAND.to_owned()),
                attempts: 0,
                next_attempt: now,
                version: 1,
            });
        }
        Ok((paid, self.all, refunds))
    }
}

fn head(order: OrderId, user: UserId, payments: &[Payment]) -> Option<Head> {
    let latest = payments.iter().max_by_key(|payment| (payment.created_at, payment.id))?;
    // Whoever asks for the payment of an order that is paid is shown the one that paid it.
    let paid: Vec<PaymentId> = payments
        .iter()
        .filter(|payment| payment.receipt().is_some())
        .map(|payment| payment.id)
        .collect();
    Some(Head {
        order,
        user,
        live: None,
        latest: paid.first().copied().unwrap_or(latest.id),
        paid,
        attempts: u32::try_from(payments.len()).unwrap_or(u32::MAX),
        version: 1,
    })
}

fn method(number: i64) -> Option<PaymentMethod> {
    match number {
        0 => Some(PaymentMethod::Alipay),
        1 => Some(PaymentMethod::WechatPay),
        _ => None,
    }
}

fn media(context: &Context<'_>, name: &str) -> String {
    match name.starts_with('/') || name.starts_with("http://") || name.starts_with("https://") {
        true => name.to_owned(),
        false => format!("{}{name}", context.media),
    }
}

/// Clocks of two hosts may differ, and nothing is gained by doubting a minute.
const TOLERANCE: Duration = Duration::from_secs(24 * 60 * 60);

/// The first of these dates that can be; the first of all is the one that is meant.
fn moment(dates: &[(&str, &When)], context: &Context<'_>, notes: &mut Notes<'_>) -> Option<Timestamp> {
    let fits = |when: &When| {
        when.moment()
            .filter(|at| *at >= OLDEST && *at <= context.now.plus(TOLERANCE))
    };
    let found = dates.iter().find_map(|(_, when)| fits(when));
    if let Some((name, when)) = dates.first()
        && fits(when).is_none()
    {
        match found {
            Some(at) => {
                notes.note(
                    Kind::DateOutOfRange,
                    format!("{name}, now {at}"),
                    Some(format!("{when:?}")),
                );
            }
            None => notes.leave_out(Kind::DateOutOfRange, (*name).to_owned()),
        }
    }
    found
}

/// A date, if it lies where it must. One that does not is told of; none is nothing unusual.
fn between(when: &When, from: Timestamp, to: Timestamp, name: &str, notes: &mut Notes<'_>) -> Option<Timestamp> {
    match when {
        When::Null => None,
        When::At(at) if *at >= from && *at <= to.plus(TOLERANCE) => Some(*at),
        other => {
            notes.note(Kind::DateOutOfRange, name, Some(format!("{other:?}")));
            None
        }
    }
}

fn cut<const MAX: usize>(text: &str) -> String {
    let visible = text
        .trim()
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    visible.take(MAX).collect::<String>().trim().to_owned()
}

/// A text that is needed.
fn required<const MIN: usize, const MAX: usize>(
    name: &str,
    text: Option<&str>,
    notes: &mut Notes<'_>,
) -> Option<Text<MIN, MAX>> {
    let text = text.unwrap_or_default();
    if text.trim().is_empty() {
        notes.note(Kind::TextMissing, name, None);
        return DASH.repeat(MIN.max(1)).parse().ok();
    }
    text.parse().ok().or_else(|| {
        notes.note(Kind::TextTooLong, name, Some(text.to_owned()));
        let kept = cut::<MAX>(text);
        kept.parse().or_else(|_| DASH.repeat(MIN.max(1)).parse()).ok()
    })
}

/// A text that may be empty.
fn optional<const MIN: usize, const MAX: usize>(
    name: &str,
    text: Option<&str>,
    notes: &mut Notes<'_>,
) -> Option<Text<MIN, MAX>> {
    let text = text.unwrap_or_default();
    text.parse().ok().or_else(|| {
        notes.note(Kind::TextTooLong, name, Some(text.to_owned()));
        cut::<MAX>(text).parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use orders::status::Status;
    use payments::status::Status as Attempt;
    use proptest::prelude::*;

    use super::*;
    use crate::rules::{Rule, Switch};

    /// 2026-03-01T00:00:00Z.
    const NOW: Timestamp = Timestamp::from_millis(1_772_323_200_000);
    const DAY: i64 = 24 * 60 * 60 * 1000;

    fn ago(millis: i64) -> When {
        When::At(Timestamp::from_millis(NOW.millis() - millis))
    }

    fn judge<T>(switches: &[&str], ahead: bool, convert: impl FnOnce(&Context<'_>) -> T) -> T {
        let switches: Vec<Switch> = switches.iter().map(|switch| switch.parse().unwrap()).collect();
        let (rules, key) = (
            Rules::with(&switches),
            SecretKey::of("TEST-ONLY-secret-key-for-vectors-0123456789").unwrap(),
        );
        convert(&Context {
            rules: &rules,
            key: &key,
            now: NOW,
            ahead,
            media: "/media/",
        })
    }

    fn old_payment(id: u64, status: i64, fen: i64) -> legacy::Payment {
        legacy::Payment {
            id,
            uuid: Entity::Payment.uuid(id),
            user_key: "7".into(),
            amount: Some(fen),
            method: 0,
            status,
            created_at: ago(9 * DAY),
            created_day: "2026-02-20".into(),
            paid_at: if status == 2 {
                ago(9 * DAY - 1000 * i64::try_from(id).unwrap())
            } else {
                When::Null
            },
            expires_at: When::Null,
            transaction: Some("42".into()),
            subject: "台灯".into(),
        }
    }

    fn old_order(status: i64, payments: &[legacy::Payment]) -> legacy::Order {
        legacy::Order {
            id: 123,
            uuid: Entity::Order.uuid(123),
            buyer: Some(Entity::User.uuid(7)),
            buyer_key: "7".into(),
            total: Some(1990),
            status,
            created_at: ago(10 * DAY),
            created_day: "2026-02-19".into(),
            updated_at: ago(8 * DAY),
            method: Some(1),
            payment_time: ago(9 * DAY),
            remark: Some("放在楼下".into()),
            cancel_reason: Some("买错了".into()),
            name: Some(
                "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD9ysz64fu0pMNVaiBipK4J_34_MTvO4pOHn82d6ZFjNKTdxrRp291UlkJ4Dlb_bWjQ=="
                    .into(),
            ),
            phone: Some("13800138000".into()),
            address: Some("8 号楼 404".into()),
            postal_code: Some(String::new()),
            seller: None,
            names_seller: false,
            has_products: true,
            items: vec![legacy::Item {
                id: 1,
                product: Some(Entity::Product.uuid(5)),
                seller: Some(Entity::User.uuid(9)),
                title: "台灯".into(),
                image: "lamp.jpg".into(),
                price: Some(1990),
                quantity: 1,
            }],
            payments: payments.to_vec(),
            too_late: false,
        }
    }

    fn kinds(findings: &[Finding]) -> Vec<Kind> {
        findings.iter().map(|finding| finding.kind).collect()
    }

    /// Repairs everything that can be.
    const WILLING: [&str; 2] = ["paid-without-payment=repair", "pending-but-paid=repair"];

    fn moved(row: &legacy::Order) -> (MovedOrder, Vec<Kind>) {
        let converted = judge(&WILLING, false, |context| order(row, context));
        let kinds = kinds(&converted.findings);
        (converted.item.unwrap_or_else(|| panic!("{kinds:?}")), kinds)
    }

    fn left_out(row: &legacy::Order) -> Vec<Kind> {
        let converted = judge(&WILLING, false, |context| order(row, context));
        assert!(converted.item.is_none(), "{:?}", converted.findings);
        kinds(&converted.findings)
    }

    #[test]
    fn a_clean_order_is_as_it_was_and_its_personal_data_is_readable() {
        let (moved, found) = moved(&old_order(2, &[old_payment(1, 2, 1990)]));
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(moved.order.status(), Status::Completed);
        assert_eq!(
            (moved.order.legacy_id, moved.order.total.fen(), moved.order.version),
            (Some(123), 1990, 1)
        );
        assert_eq!(moved.order.lines[0].image, "/media/lamp.jpg");
        assert_eq!(moved.particulars.shipping_name.as_str(), "张三");
        assert_eq!(moved.particulars.shipping_postal_code, None);
        assert_eq!(
            moved.payments[0].ledger.balance().unwrap(),
            Money::ZERO,
            "held and released"
        );
        assert_eq!(moved.head.unwrap().paid, [moved.payments[0].id]);
        assert_eq!(moved.reservations.len(), 1);
        assert!(moved.refunds.is_empty());
    }

    /// Every status of an order, with and without money: what it becomes.
    #[test]
    fn every_status_becomes_what_the_rules_say() {
        let young = |status, payments: &[legacy::Payment]| legacy::Order {
            created_at: ago(60_000),
            updated_at: ago(60_000),
            ..old_order(status, payments)
        };
        let paid = [old_payment(1, 2, 1990)];
        let none: [legacy::Payment; 0] = [];
        for (row, status, found) in [
            (old_order(0, &none), Status::Cancelled, vec![Kind::OverduePending]),
            (young(0, &none), Status::PendingPayment, vec![]),
            (old_order(0, &paid), Status::Paid, vec![Kind::PendingButPaid]),
            (old_order(1, &paid), Status::Paid, vec![]),
            (old_order(1, &none), Status::Paid, vec![Kind::PaidWithoutPayment]),
            (old_order(2, &paid), Status::Completed, vec![]),
            (old_order(2, &none), Status::Completed, vec![Kind::PaidWithoutPayment]),
            (old_order(3, &none), Status::Cancelled, vec![]),
            (old_order(3, &paid), Status::Cancelled, vec![Kind::CancelledButPaid]),
        ] {
            let (moved, kinds) = moved(&row);
            assert_eq!(
                (moved.order.status(), kinds),
                (status, found),
                "{} {:?}",
                row.status,
                row.payments.len()
            );
            let holds = moved.order.status() != Status::Cancelled;
            assert_eq!(moved.reservations.len(), usize::from(holds));
        }
        for status in [-1, 4, 9] {
            assert_eq!(left_out(&old_order(status, &none)), [Kind::UnknownStatus]);
        }
        let late = legacy::Order {
            too_late: true,
            ..young(0, &none)
        };
        assert_eq!(moved(&late).1, [Kind::PendingWithoutStock]);
    }

    #[test]
    fn every_status_of_a_payment_has_one_here() {
        for (status, expected) in [
            (0, Attempt::Closed),
            (1, Attempt::Closed),
            (3, Attempt::Failed),
            (4, Attempt::Closed),
        ] {
            let (moved, _) = moved(&old_order(3, &[old_payment(1, status, 1990)]));
            assert_eq!(moved.payments[0].status(), expected, "{status}");
            assert!(moved.payments[0].ledger.entries().is_empty() && moved.payments[0].due_at().is_none());
        }
        assert_eq!(
            left_out(&old_order(3, &[old_payment(1, 9, 1990)])),
            [Kind::UnknownStatus]
        );
        // The split services wrote a refunded payment as failed; that it was paid tells.
        let mut refunded = old_payment(1, 3, 1990);
        refunded.paid_at = ago(9 * DAY);
        let (moved, _) = moved(&old_order(3, &[refunded]));
        assert_eq!(
            (moved.payments[0].status(), moved.refunds[0].status),
            (Attempt::Paid, RefundStatus::Succeeded)
        );
        assert_eq!(moved.payments[0].ledger.balance().unwrap(), Money::ZERO);
    }

    #[test]
    fn the_first_payment_pays_and_each_other_one_waits_for_a_person() {
        let payments = [
            old_payment(1, 2, 1990),
            old_payment(2, 2, 1990),
            old_payment(3, 4, 1990),
        ];
        let (moved, found) = moved(&old_order(2, &payments));
        assert_eq!(found, [Kind::SeveralPayments]);
        // The second one's money came first.
        let pays = moved.order.paid().unwrap().payment_uuid;
        assert_eq!(pays, PaymentId::from(Entity::Payment.uuid(1)).min(pays).max(pays));
        assert_eq!(
            (moved.refunds.len(), moved.refunds[0].status),
            (1, RefundStatus::NeedsHuman)
        );
        assert_ne!(moved.refunds[0].payment, pays);
        assert_eq!(moved.order.refunds[0].outcome, order::RefundOutcome::NeedsAttention);
        assert_eq!(moved.order.kept().fen(), 1990, "what pays the order stays with it");
        assert_eq!(
            left_out(&old_order(2, &[old_payment(1, 2, 1991)])),
            [Kind::PaymentDiffers]
        );
    }

    #[test]
    fn what_can_not_be_an_order_here_is_left_out_with_the_reason() {
        let clean = || old_order(3, &[]);
        let mut two = clean();
        two.items.push(legacy::Item {
            seller: Some(Entity::User.uuid(10)),
            ..two.items[0].clone()
        });
        let with = |change: fn(&mut legacy::Order)| {
            let mut row = clean();
            change(&mut row);
            row
        };
        for (row, kind) in [
            (with(|row| row.items.clear()), Kind::OrderWithoutSeller),
            (with(|row| row.items[0].seller = None), Kind::OrderWithoutSeller),
            (with(|row| row.names_seller = true), Kind::OrderWithoutSeller),
            (with(|row| row.buyer = None), Kind::Orphan),
            (with(|row| row.total = Some(0)), Kind::AmountOutOfRange),
            (with(|row| row.total = Some(-5)), Kind::AmountOutOfRange),
            (with(|row| row.items[0].quantity = 0), Kind::AmountOutOfRange),
            (with(|row| row.items[0].quantity = 1000), Kind::AmountOutOfRange),
            (two, Kind::SeveralSellers),
        ] {
            assert!(left_out(&row).contains(&kind), "{kind}");
        }
        let nothing = legacy::Order {
            created_at: When::Never("0000-00-00".into()),
            updated_at: When::Null,
            payment_time: When::Null,
            ..clean()
        };
        assert_eq!(left_out(&nothing), [Kind::DateOutOfRange]);
    }

    #[test]
    fn what_is_repaired_is_told_with_what_was_lost() {
        let mut row = old_order(3, &[]);
        row.total = Some(2090);
        row.remark = Some("长".repeat(600));
        row.address = Some(format!("{}x", row.name.clone().unwrap_or_default()));
        row.phone = Some(String::new());
        row.created_at = When::At(Timestamp::from_millis(5));
        let (moved, found) = moved(&row);
        for kind in [
            Kind::TotalDiffers,
            Kind::TextTooLong,
            Kind::TokenDoesNotDecrypt,
            Kind::TextMissing,
            Kind::DateOutOfRange,
        ] {
            assert!(found.contains(&kind), "{kind} {found:?}");
        }
        assert_eq!(moved.order.total.fen(), 2090, "what was charged stays");
        assert_eq!(moved.particulars.shipping_address.as_str(), UNREADABLE);
        assert_eq!(moved.particulars.remark.unwrap().chars().count(), 500);
        assert_eq!(moved.order.placed_at, Timestamp::from_millis(NOW.millis() - 8 * DAY));
        let converted = judge(&["text-too-long=quarantine"], false, |context| order(&row, context));
        assert!(converted.item.is_none());
        let cut = converted
            .findings
            .iter()
            .find(|finding| finding.kind == Kind::TextTooLong)
            .unwrap();
        assert_eq!(
            (cut.rule, cut.lost.as_deref().map(|lost| lost.chars().count())),
            (Rule::Quarantine, Some(600))
        );
    }

    #[test]
    fn nothing_is_taken_that_a_person_has_to_decide_about() {
        for row in [old_order(1, &[]), old_order(0, &[old_payment(1, 2, 1990)])] {
            let converted = judge(&[], false, |context| order(&row, context));
            assert!(converted.item.is_none() && converted.findings.iter().any(|finding| finding.rule == Rule::Ask));
        }
    }

    #[test]
    fn ahead_of_the_switch_orders_under_way_stay_behind() {
        for (status, held_back) in [(0, false), (1, true), (2, false), (3, false)] {
            let row = old_order(status, &[]);
            let converted = judge(&WILLING, true, |context| order(&row, context));
            assert_eq!(
                (converted.held_back, converted.item.is_none()),
                (held_back, held_back),
                "{status}"
            );
            assert!(!held_back || converted.findings.is_empty());
        }
    }

    #[test]
    fn a_moved_paid_order_leaves_its_buyer_time() {
        let (moved, _) = moved(&old_order(1, &[old_payment(1, 2, 1990)]));
        let State::Paid {
            completes_at, reminded, ..
        } = moved.order.state
        else {
            panic!("{:?}", moved.order.state)
        };
        assert!(!reminded && completes_at >= NOW.plus(REMINDER_AHEAD * 2));
        assert!(
            moved.order.due_at().unwrap() > NOW,
            "nothing is due at the moment of the move"
        );
        assert_eq!(moved.payments[0].ledger.balance().unwrap().fen(), 1990);
    }

    #[derive(Default)]
    struct Taken(BTreeMap<String, u64>);

    impl Names for Taken {
        fn may_have_email(&mut self, id: u64, email: &str) -> bool {
            *self.0.entry(format!("email {email}")).or_insert(id) == id
        }

        fn may_have_name(&mut self, id: u64, name: &str) -> bool {
            *self.0.entry(format!("name {name}")).or_insert(id) == id
        }
    }

    fn old_user(id: u64, username: &str, email: &str) -> legacy::User {
        legacy::User {
            id,
            username: username.into(),
            password: "pbkdf2_sha256$1000$seasalt$bkEjSC71cVSJM6BrXHrbL6c5ZzTAcZM3hqQ2JWWkYnM=".into(),
            email: email.into(),
            created_at: ago(100 * DAY),
            status: 0,
            privilege: 0,
            avatar: None,
            address: Some("3号楼 101".into()),
        }
    }

    #[test]
    fn the_oldest_account_keeps_its_address_and_its_name() {
        let mut names = Taken::default();
        let mut take = |row: &legacy::User| judge(&[], false, |context| user(row, &mut names, context));
        let first = take(&old_user(1, "张三", "Zhang@example.edu"));
        let second = take(&old_user(2, "张三", "zhang@Example.edu"));
        let third = take(&old_user(3, "李 四", "no address"));
        assert!(first.findings.is_empty(), "{:?}", first.findings);
        assert_eq!(kinds(&second.findings), [Kind::DuplicateEmail, Kind::DuplicateName]);
        assert_eq!(kinds(&third.findings), [Kind::BadEmail, Kind::BadName]);
        let shown: Vec<(String, String)> = [first, second, third]
            .into_iter()
            .map(|converted| converted.item.unwrap().user)
            .map(|user| (user.username.as_str().to_owned(), user.email.as_str().to_owned()))
            .collect();
        assert_eq!(shown[0], ("张三".to_owned(), "zhang@example.edu".to_owned()));
        assert_eq!(shown[1], ("张三_2".to_owned(), "user-2@migrated.invalid".to_owned()));
        assert_eq!(shown[2], ("李_四".to_owned(), "user-3@migrated.invalid".to_owned()));
    }

    #[test]
    fn every_status_of_a_product_and_every_kind_of_notification_has_one_here() {
        let row = |status, held| legacy::Product {
            id: 5,
            seller: Some((Entity::User.uuid(9), "李四".into())),
            title: "台灯".into(),
            description: "九成新".into(),
            price: Some(1990),
            status,
            created_at: ago(DAY),
            function: 1,
            visit_count: 3,
            rating: (45, 2),
            media: vec!["a.jpg".into()],
            categories: vec![],
            held,
        };
        for (status, held, listing, stock) in [
            (0, false, Listing::OnSale, 1),
            (0, true, Listing::OnSale, 0),
            (1, false, Listing::Banned, 1),
            (2, false, Listing::OnSale, 0),
            (3, false, Listing::Unreviewed, 1),
        ] {
            let moved = judge(&[], false, |context| product(&row(status, held), context))
                .item
                .unwrap();
            assert_eq!((moved.listing, moved.stock), (listing, stock), "{status}");
            assert_eq!(moved.ratings.average(), "4.5");
        }
        assert!(
            judge(&[], false, |context| product(&row(4, false), context))
                .item
                .is_none()
        );

        let notice = |kind, data: Option<&str>| legacy::Notification {
            id: 1,
            user: Some(Entity::User.uuid(7)),
            kind,
            title: "订单".into(),
            content: "已发货".into(),
            read: true,
            created_at: ago(DAY),
            read_at: When::Null,
            related_id: Some("123".into()),
            related_data: data.map(str::to_owned),
        };
        for (number, kind) in [
            (0, NoticeKind::Transaction),
            (1, NoticeKind::System),
            (2, NoticeKind::Promotion),
        ] {
            let converted = judge(&[], false, |context| {
                notification(&notice(number, None), Entity::Notification, context)
            });
            let moved = converted.item.unwrap();
            assert_eq!((moved.message.kind, moved.push), (kind, false));
            assert_eq!(moved.read_at, Some(moved.created_at));
        }
        let converted = judge(&[], false, |context| {
            notification(&notice(0, Some("[1]")), Entity::Notification, context)
        });
        assert_eq!(kinds(&converted.findings), [Kind::BadData]);
        assert!(
            judge(&[], false, |context| notification(
                &notice(3, None),
                Entity::Notification,
                context
            ))
            .item
            .is_none()
        );
    }

    proptest! {
        /// However dirty an order is: it is taken or left out, never lost; and what is taken keeps its money to the fen.
        #[test]
        fn an_order_is_taken_or_told_of(
            status in -1_i64..5,
            total in -10_i64..5000,
            price in -10_i64..5000,
            quantity in -1_i64..1200,
            payments in prop::collection::vec((0_i64..6, -10_i64..5000, any::<bool>()), 0..4),
            days in -3_i64..40,
            text in "\\PC{0,60}",
        ) {
            let mut row = old_order(status, &[]);
            row.total = Some(total);
            row.items[0].price = Some(price);
            row.items[0].quantity = quantity;
            row.created_at = ago(days * DAY);
            row.name = Some(text.clone());
            row.remark = Some(text);
            row.payments = payments
                .iter()
                .enumerate()
                .map(|(at, (status, fen, same))| old_payment(u64::try_from(at).unwrap() + 1, *status, if *same { total } else { *fen }))
                .collect();
            let converted = judge(&WILLING, false, |context| order(&row, context));
            match &converted.item {
                None => prop_assert!(converted.findings.iter().any(|finding| finding.rule != Rule::Repair)),
                Some(moved) => {
                    prop_assert_eq!(moved.order.total.fen(), total);
                    let succeeded = row.payments.iter().filter(|payment| payment.status == 2);
                    let came: i64 = succeeded.filter_map(|payment| payment.amount).sum();
                    let held: i64 = moved.payments.iter().map(|payment| payment.ledger.captured().unwrap().fen()).sum();
                    let made_up = if came == 0 && matches!(row.status, 1 | 2) { total } else { 0 };
                    prop_assert_eq!(held, came + made_up);
                    // What is stored can be read again.
                    let record = orders::table::OrderRecord::from(&moved.order);
                    prop_assert_eq!(&Order::try_from(record).unwrap(), &moved.order);
                    for payment in &moved.payments {
                        let record = payments::table::PaymentRecord::from(payment);
                        prop_assert_eq!(&Payment::try_from(record).unwrap(), payment);
                    }
                }
            }
        }
    }
}
