//! Numbered pages.

use std::str::FromStr;

/// Which page of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    number: u32,
    size: u32,
}

/// A page number or size outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// `page` is not a number from 1.
    #[error("must be a whole number from 1 to 1000000")]
    Number,
    /// `page_size` is not a number from 1 to 100.
    #[error("must be a whole number from 1 to 100")]
    Size,
}

impl PageRequest {
    /// The largest page.
    pub const MAX_SIZE: u32 = 100;

    /// Reads the two query parameters; an absent one takes its default (page 1, `default_size`).
    ///
    /// # Errors
    /// [`PageError`] names the parameter that is out of range.
    pub fn parse(page: Option<&str>, page_size: Option<&str>, default_size: u32) -> Result<Self, PageError> {
        let number = page.map_or(Ok(1), |text| whole(text, 1_000_000).ok_or(PageError::Number))?;
        let size = page_size.map_or(Ok(default_size), |text| {
            whole(text, Self::MAX_SIZE).ok_or(PageError::Size)
        })?;
        Ok(Self { number, size })
    }

    /// The page's number, from 1.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// Entries on a page.
    #[must_use]
    pub fn size(self) -> u32 {
        self.size
    }

    /// How many entries come before this page.
    #[must_use]
    pub fn offset(self) -> usize {
        (self.number as usize - 1) * self.size as usize
    }

    /// Cuts this page out of the whole list; past the end it is empty.
    #[must_use]
    pub fn cut<T>(self, all: Vec<T>) -> Page<T> {
        let count = all.len();
        let entries = all.into_iter().skip(self.offset()).take(self.size as usize).collect();
        Page {
            request: self,
            count,
            entries,
        }
    }
}

fn whole(text: &str, max: u32) -> Option<u32> {
    u32::from_str(text).ok().filter(|number| (1..=max).contains(number))
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// What was asked for.
    pub request: PageRequest,
    /// Entries on all pages.
    pub count: usize,
    /// The entries of this page.
    pub entries: Vec<T>,
}

impl<T> Page<T> {
    /// The same page of something else.
    #[must_use]
    pub fn with_entries<U>(&self, entries: Vec<U>) -> Page<U> {
        Page {
            request: self.request,
            count: self.count,
            entries,
        }
    }

    /// Number of pages, at least 1.
    #[must_use]
    pub fn total_pages(&self) -> usize {
        self.count.div_ceil(self.request.size as usize).max(1)
    }

    /// Number of the page after this one, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        ((self.request.number as usize) < self.total_pages()).then(|| self.request.number + 1)
    }

    /// Number of the page before this one, if there is one.
    #[must_use]
    pub fn previous(&self) -> Option<u32> {
        (self.request.number > 1).then(|| self.request.number - 1)
    }
}
