//! What each function may do: the IAM statements of its template entry, evaluated per call.
//!
//! A function calls with its logical id as access key id, so that a missing permission shows up here and not in
//! production. What was really used is kept as well, so that a test can find the permissions that nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::template::model::{Function, Statement};

/// Access key id for people and tests that look into the stores themselves: it may do everything.
pub const OPERATOR: &str = "operator";

/// One permission that a call needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Action, e.g. `dynamodb:PutItem`.
    pub action: String,
    /// ARN of what it acts on.
    pub resource: String,
}

impl Need {
    /// The permission to do `action` on `resource`.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            resource: resource.into(),
        }
    }
}

/// A permission that a function really used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Use {
    /// Logical id of the function.
    pub function: String,
    /// Action, e.g. `dynamodb:PutItem`.
    pub action: String,
    /// ARN of what it acted on.
    pub resource: String,
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A function, by logical id.
    Function(String),
    /// A person or a test, see [`OPERATOR`].
    Operator,
}

impl Caller {
    /// Name under which the caller is recorded.
    pub fn name(&self) -> &str {
        match self {
            Self::Function(logical_id) => logical_id,
            Self::Operator => OPERATOR,
        }
    }
}

/// The permissions of all functions.
#[derive(Debug)]
pub struct Permissions {
    statements: BTreeMap<String, Vec<Statement>>,
    used: Mutex<BTreeSet<Use>>,
    granting: Mutex<BTreeSet<Use>>,
}

impl Permissions {
    /// The permissions that `functions` state, and `roles` of others.
    pub fn new(functions: &BTreeMap<String, Function>, roles: &BTreeMap<String, Vec<Statement>>) -> Self {
        let statements = functions
            .iter()
            .map(|(id, function)| (id.clone(), function.statements.clone()))
            .chain(roles.clone())
            .collect();
        Self {
            statements,
            used: Mutex::default(),
            granting: Mutex::default(),
        }
    }

    /// The owner of an access key id; `None` when nobody has it.
    pub fn caller(&self, access_key: &str) -> Option<Caller> {
        if access_key == OPERATOR {
            return Some(Caller::Operator);
        }
        self.statements
            .contains_key(access_key)
            .then(|| Caller::Function(access_key.to_owned()))
    }

    /// Whether `caller` may do what `need` says; nothing is noted.
    pub fn allows(&self, caller: &Caller, need: &Need) -> bool {
        match caller {
            Caller::Operator => true,
            Caller::Function(id) => !self.is_denied(id, need) && self.grant(id, need).is_some(),
        }
    }

    /// Checks every need of one call and notes their use; the first one that is not granted comes back.
    pub fn exercise<'a>(&self, caller: &Caller, needs: &'a [Need]) -> Result<(), &'a Need> {
        if let Some(missing) = needs.iter().find(|need| !self.allows(caller, need)) {
            return Err(missing);
        }
        let Caller::Function(id) = caller else { return Ok(()) };

        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut granting = self.granting.lock().unwrap_or_else(PoisonError::into_inner);
        for need in needs {
            used.insert(Use {
                function: id.clone(),
                action: need.action.clone(),
                resource: need.resource.clone(),
            });
            if let Some((action, resource)) = self.grant(id, need) {
                granting.insert(Use {
                    function: id.clone(),
                    action: action.clone(),
                    resource: resource.clone(),
                });
            }
        }
        Ok(())
    }

    /// Everything that functions really did.
    pub fn used(&self) -> BTreeSet<Use> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Pairs of action and resource, as the template states them, that have not allowed anything yet.
    pub fn unused(&self) -> BTreeSet<Use> {
        let granting = self.granting.lock().unwrap_or_else(PoisonError::into_inner);
        self.statements
            .iter()
            .flat_map(|(id, statements)| {
                pairs(statements, true).map(|(action, resource)| Use {
                    function: id.clone(),
                    action: action.clone(),
                    resource: resource.clone(),
                })
            })
            .filter(|grant| !granting.contains(grant))
            .collect()
    }

    fn grant(&self, id: &str, need: &Need) -> Option<(&String, &String)> {
        pairs(self.statements.get(id)?, true).find(|pair| covers(*pair, need))
    }

    fn is_denied(&self, id: &str, need: &Need) -> bool {
        self.statements
            .get(id)
            .is_some_and(|statements| pairs(statements, false).any(|pair| covers(pair, need)))
    }
}

/// Every (action, resource) of the statements that allow, or that deny.
fn pairs(statements: &[Statement], allow: bool) -> impl Iterator<Item = (&String, &String)> {
    statements
        .iter()
        .filter(move |statement| statement.allow == allow)
        .flat_map(|statement| {
            statement
                .actions
                .iter()
                .flat_map(|a| statement.resources.iter().map(move |r| (a, r)))
        })
}

fn covers((action, resource): (&String, &String), need: &Need) -> bool {
    // IAM compares actions without regard to case, resources with it.
    fits(&action.to_ascii_lowercase(), &need.action.to_ascii_lowercase()) && fits(resource, &need.resource)
}

/// Whether `text` fits the pattern, where `*` stands for any text and `?` for any one character.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(found) = text.get(t) {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(expected) if *expected == '?' || expected == found => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                retry = Some((after_star, from + 1));
                p = after_star;
                t = from + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(statements: Vec<Statement>) -> Permissions {
        Permissions {
            statements: BTreeMap::from([("GetOrderFunction".to_owned(), statements)]),
            used: Mutex::default(),
            granting: Mutex::default(),
        }
    }

    fn statement(allow: bool, action: &str, resource: &str) -> Statement {
        Statement {
            allow,
            actions: vec![action.to_owned()],
            resources: vec![resource.to_owned()],
        }
    }

    fn function() -> Caller {
        Caller::Function("GetOrderFunction".to_owned())
    }

    const ORDERS: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/orders";

    #[test]
    fn a_stated_action_is_allowed_and_any_other_is_not() {
        let permissions = permissions(vec![statement(true, "dynamodb:GetItem", ORDERS)]);
        assert!(permissions.allows(&function(), &Need::new("dynamodb:GetItem", ORDERS)));
        assert!(!permissions.allows(&function(), &Need::new("dynamodb:PutItem", ORDERS)));
        assert!(!permissions.allows(&function(), &Need::new("dynamodb:GetItem", format!("{ORDERS}2"))));
    }

    #[test]
    fn an_index_needs_a_permission_of_its_own() {
        let index = format!("{ORDERS}/index/by-buyer");
        let table_only = permissions(vec![statement(true, "dynamodb:Query", ORDERS)]);
        assert!(!table_only.allows(&function(), &Need::new("dynamodb:Query", &index)));
        let indexes = permissions(vec![statement(true, "dynamodb:Query", &format!("{ORDERS}/index/*"))]);
        assert!(indexes.allows(&function(), &Need::new("dynamodb:Query", &index)));
        assert!(!indexes.allows(&function(), &Need::new("dynamodb:Query", ORDERS)));
    }

    #[test]
    fn a_denial_wins() {
        let permissions = permissions(vec![
            statement(true, "dynamodb:*", "*"),
            statement(false, "dynamodb:Delete*", ORDERS),
        ]);
        assert!(permissions.allows(&function(), &Need::new("dynamodb:PutItem", ORDERS)));
        assert!(!permissions.allows(&function(), &Need::new("dynamodb:DeleteItem", ORDERS)));
    }

    #[test]
    fn what_was_used_and_what_was_not_can_be_told_apart() {
        let permissions = permissions(vec![
            statement(true, "dynamodb:GetItem", ORDERS),
            statement(true, "dynamodb:Query", &format!("{ORDERS}/index/*")),
        ]);
        permissions
            .exercise(&function(), &[Need::new("dynamodb:GetItem", ORDERS)])
            .unwrap();
        let denied = [
            Need::new("dynamodb:GetItem", ORDERS),
            Need::new("dynamodb:Scan", ORDERS),
        ];
        assert_eq!(permissions.exercise(&function(), &denied), Err(&denied[1]));

        let used: Vec<_> = permissions.used().into_iter().map(|used| used.action).collect();
        assert_eq!(used, ["dynamodb:GetItem"]);
        let unused: Vec<_> = permissions.unused().into_iter().map(|unused| unused.action).collect();
        assert_eq!(unused, ["dynamodb:Query"]);
    }

    #[test]
    fn only_functions_and_the_operator_have_keys() {
        let permissions = permissions(vec![]);
        assert_eq!(permissions.caller("GetOrderFunction"), Some(function()));
        assert_eq!(permissions.caller(OPERATOR), Some(Caller::Operator));
        assert_eq!(permissions.caller("SomeoneFunction"), None);
    }

    #[test]
    fn wildcards_fit_as_in_iam() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xxaab", true),
            ("table/orders", "table/orders", true),
            ("table/*/index/?", "table/orders/index/i", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
