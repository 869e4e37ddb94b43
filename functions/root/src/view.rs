//! The JSON that administrators see of dead letters.

use std::collections::BTreeMap;

use cloud::rehearsal::Effect;
use event_function::Attended;
use kernel::{LetterId, UserId, Zone};
use serde::Serialize;
use utoipa::ToSchema;

use crate::consumer::Consumer;
use crate::letter::{Content, Deed, Entry, Letter, Status};

/// A dead letter in the list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub struct LetterView {
    letter_uuid: LetterId,
    /// The function that could not handle it.
    consumer: Consumer,
    status: Status,
    /// Whether it is being redriven at this moment, or a redrive was interrupted.
    redrive_began: bool,
    /// The type of the event or change, and the ids and states that it names.
    about: BTreeMap<String, String>,
    /// When the message was sent, or the change given up.
    #[schema(format = DateTime)]
    sent_at: String,
    /// When it was found among the dead letters.
    #[schema(format = DateTime)]
    kept_at: String,
    /// How often the function tried it; null where nobody knows, and where it was never delivered.
    #[schema(required)]
    tries: Option<u32>,
    /// Why the last redrive failed.
    #[schema(required)]
    last_error: Option<String>,
}

/// A dead letter, explained.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterExplained)]
pub struct ExplainedView {
    #[serde(flatten)]
    letter: LetterView,
    /// What the function does with such a message.
    does: &'static str,
    /// What it means for people that it did not.
    otherwise: &'static str,
    /// What to do.
    advice: &'static str,
    /// Whether there is anything to redrive: the stream of a change may have forgotten it before it could be kept.
    content_lost: bool,
    /// The `message_id` (of changes: the `position`) in the function's log lines, whose `cause` says why it failed.
    trace: String,
    /// What people did with it, oldest first.
    history: Vec<EntryView>,
}

/// What somebody did with a letter.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterEntry)]
pub struct EntryView {
    #[schema(format = DateTime)]
    at: String,
    /// An administrator.
    by: UserId,
    deed: Deed,
    /// Why it failed, or why it is discarded.
    #[schema(required)]
    remark: Option<String>,
}

/// What a redrive would change, as things are now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedrivePreview)]
pub struct PreviewView {
    letter_uuid: LetterId,
    outcome: Outcome,
    /// The first thing that would be done. What follows from it is not known in advance.
    #[schema(required)]
    effect: Option<EffectView>,
    /// Why it would fail.
    #[schema(required)]
    cause: Option<String>,
}

/// What would come of a redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// `effect` would be tried.
    Changes,
    /// Nothing would be changed: what the letter asks for is done, or not needed any more.
    Nothing,
    /// It would fail again, before anything is changed.
    Fails,
}

/// Something that would be done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedriveEffect)]
pub struct EffectView {
    /// E.g. `dynamodb:PutItem`, `sns:Publish`, or a method of HTTP.
    action: String,
    /// The table, the topic, or the service and its path.
    target: String,
    /// Ids and states as they are, as far as they were read.
    before: BTreeMap<String, String>,
    /// Ids and states as they would be, or would be said.
    after: BTreeMap<String, String>,
}

/// A part of the list of dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLettersPage)]
pub struct LettersView {
    /// Entries of this part: the whole is not counted.
    pub count: usize,
    /// Where the list goes on.
    #[schema(required)]
    pub next: Option<String>,
    /// Always null: the list is read forwards.
    #[schema(required)]
    pub previous: Option<String>,
    /// The entries.
    pub results: LettersResults,
}

/// The entries in the envelope of lists.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetters)]
pub struct LettersResults {
    /// 200.
    pub code: u16,
    /// For people.
    pub message: &'static str,
    /// Oldest first: what waits longest is seen to first.
    pub data: Vec<LetterView>,
}

impl LetterView {
    /// What is shown of a letter.
    #[must_use]
    pub fn of(letter: &Letter, zone: Zone) -> Self {
        Self {
            letter_uuid: letter.id,
            consumer: letter.consumer,
            status: letter.status,
            redrive_began: letter.redrive_since.is_some(),
            about: letter.about(),
            sent_at: zone.show(letter.sent_at),
            kept_at: zone.show(letter.kept_at),
            tries: letter.tries,
            last_error: letter.last_error().map(str::to_owned),
        }
    }
}

impl ExplainedView {
    /// All that is shown of a letter.
    #[must_use]
    pub fn of(letter: &Letter, zone: Zone) -> Self {
        let explanation = letter.consumer.explanation();
        Self {
            letter: LetterView::of(letter, zone),
            does: explanation.does,
            otherwise: explanation.otherwise,
            advice: explanation.advice,
            content_lost: matches!(letter.content, Content::Lost(_)),
            trace: letter.trace.clone(),
            history: letter.history.iter().map(|entry| EntryView::of(entry, zone)).collect(),
        }
    }
}

impl EntryView {
    fn of(entry: &Entry, zone: Zone) -> Self {
        Self {
            at: zone.show(entry.at),
            by: entry.by,
            deed: entry.deed,
            remark: entry.remark.clone(),
        }
    }
}

impl PreviewView {
    /// What a rehearsal came to.
    #[must_use]
    pub fn of(letter: &Letter, rehearsed: Attended) -> Self {
        let Attended { cause, effect } = rehearsed;
        Self {
            letter_uuid: letter.id,
            outcome: match (&effect, &cause) {
                (Some(_), _) => Outcome::Changes,
                (None, Some(_)) => Outcome::Fails,
                (None, None) => Outcome::Nothing,
            },
            effect: effect.map(EffectView::of),
            cause,
        }
    }
}

impl EffectView {
    fn of(effect: Effect) -> Self {
        Self {
            action: effect.action,
            target: effect.target,
            before: effect.before,
            after: effect.after,
        }
    }
}
