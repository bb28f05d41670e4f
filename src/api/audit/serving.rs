//! A watch that is open: reads, sends, waits for the bell, at the pace that it may have.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use tokio::{
    sync::watch::{self, error::RecvError},
    time::{Interval, MissedTickBehavior, interval, sleep},
};

use crate::{
    api::{
        in_background,
        status::ApiError,
        stream::{Outgoing, Over},
    },
    identity::caller::Caller,
    service::{
        pace::Pace,
        reading::{Progress, ReadingError, Watch},
        watches::Permit,
    },
    telemetry::watchers::Position,
};

/// How far apart messages are where many records come; one that comes alone is sent at once.
const GATHERING: Duration = Duration::from_millis(5);
/// How often a watch says how far it is where nothing is for its caller.
const REPORTING: Duration = Duration::from_millis(250);

/// What the messages of a watch are.
pub(super) trait Carrier {
    type Message;

    /// A message with what was read. To be sent at once.
    fn carry(&mut self, progress: Progress) -> Self::Message;

    /// A message that says which records were removed before they were read, and that the watch goes
    /// on behind them; `None` if that ends it.
    fn carry_missing(&mut self, from: u64, through: u64) -> Option<Self::Message>;
}

/// One open watch: reads, sends, waits for the bell.
pub(super) struct Serving<C> {
    pub(super) watch: Watch,
    pub(super) carrier: C,
    /// Rings when more is on disk.
    pub(super) synced: watch::Receiver<u64>,
    /// How far it has come.
    pub(super) position: Position,
    /// How fast it may go while it is behind.
    pub(super) pace: Pace,
    /// Counts it among the open watches while it lasts.
    pub(super) permit: Permit,
}

impl<C: Carrier> Serving<C> {
    pub(super) async fn run(self, mut outgoing: Outgoing<C::Message>) {
        let Err(over) = self.follow(&mut outgoing).await;
        outgoing.end(over);
    }

    /// Goes on until the watch is over.
    pub(super) async fn follow(
        self,
        outgoing: &mut Outgoing<C::Message>,
    ) -> Result<Infallible, Over> {
        let Self { mut watch, mut carrier, mut synced, position, pace, permit: _permit } = self;
        let mut rhythm = Rhythm::begin();
        // The first record that no message accounts for yet.
        let mut unreported = watch.next();
        // The first message says where the watch begins, also if there is nothing to read yet.
        outgoing.send(carrier.carry(nothing(unreported, unreported - 1))).await?;
        loop {
            // Looked at before reading, so that what comes meanwhile rings again.
            synced.mark_unchanged();
            let progress = match watch.read_newest(outgoing.caller()) {
                Some(progress) => Ok(progress),
                None => {
                    let last = *synced.borrow();
                    if let Some(rest) = pace.due(last) {
                        if unreported < watch.next() && rhythm.is_report_due() {
                            let looked_at = nothing(unreported, watch.next() - 1);
                            outgoing.send(carrier.carry(looked_at)).await?;
                            unreported = watch.next();
                            rhythm.note_sent();
                        }
                        outgoing.wait(after(rest.min(REPORTING))).await?;
                        continue;
                    }
                    let (read, progress) = read(watch, Arc::clone(outgoing.caller())).await?;
                    watch = read;
                    if let Ok(Progress { from, through, .. }) = &progress {
                        pace.note(through + 1 - from, last);
                    }
                    progress
                }
            };
            let Progress { entries, from: _, through } = match progress {
                Ok(progress) => progress,
                Err(error) => {
                    unreported =
                        pass_over(&mut watch, unreported, error, &mut carrier, outgoing).await?;
                    rhythm.note_sent();
                    continue;
                }
            };
            let has_news = through >= unreported;
            if !entries.is_empty() || has_news && rhythm.is_report_due() {
                let progress = Progress { entries, from: unreported, through };
                outgoing.send(carrier.carry(progress)).await?;
                unreported = through + 1;
                rhythm.note_sent();
            }
            position.reach(through);
            if watch.is_at_end() {
                let is_waiting = through >= unreported;
                outgoing.wait(rhythm.next(&mut synced, is_waiting)).await?;
            }
        }
    }
}

/// Ends after a while.
async fn after(rest: Duration) -> Result<(), Infallible> {
    sleep(rest).await;
    Ok(())
}

/// Goes on behind what was removed before a slow reader came to it, if its messages can say so.
/// Returns the first record that no message accounts for then.
async fn pass_over<C: Carrier>(
    watch: &mut Watch,
    unreported: u64,
    error: ReadingError,
    carrier: &mut C,
    outgoing: &mut Outgoing<C::Message>,
) -> Result<u64, Over> {
    let removed = match error {
        ReadingError::OutOfRange { .. } => watch.pass_over_removed(),
        _ => None,
    };
    let carried = removed
        .and_then(|(from, through)| Some((from, through, carrier.carry_missing(from, through)?)));
    let Some((from, through, message)) = carried else { return Err(ApiError::from(error).into()) };
    if unreported < from {
        // What was looked at before that, and had nothing for the reader.
        outgoing.send(carrier.carry(nothing(unreported, from - 1))).await?;
    }
    outgoing.send(message).await?;
    Ok(through + 1)
}

/// No records of a range that was looked at.
pub(super) fn nothing(from: u64, through: u64) -> Progress {
    Progress { entries: Vec::new(), from, through }
}

/// When a watch that has reached the end of the log goes on.
struct Rhythm {
    gathering: Interval,
    reporting: Interval,
    is_report_due: bool,
}

impl Rhythm {
    fn begin() -> Self {
        let (mut gathering, mut reporting) = (interval(GATHERING), interval(REPORTING));
        gathering.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reporting.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reporting.reset();
        Self { gathering, reporting, is_report_due: false }
    }

    fn note_sent(&mut self) {
        self.gathering.reset();
        self.reporting.reset();
        self.is_report_due = false;
    }

    /// Whether it is time to say how far a watch is, though nothing is for its caller.
    fn is_report_due(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.is_report_due |= self.reporting.poll_tick(&mut context).is_ready();
        self.is_report_due
    }

    /// Waits for more: at least as long after a message as many records are gathered, and no longer
    /// than it may take to report what was looked at, if there is something.
    async fn next(
        &mut self,
        synced: &mut watch::Receiver<u64>,
        is_waiting: bool,
    ) -> Result<(), RecvError> {
        let Self { gathering, reporting, is_report_due } = self;
        tokio::select! {
            changed = synced.changed() => changed?,
            _ = reporting.tick(), if is_waiting => {
                *is_report_due = true;
                return Ok(());
            }
        }
        gathering.tick().await;
        Ok(())
    }
}

/// Reads on, where waiting for the disk holds up nobody.
async fn read(
    mut watch: Watch,
    caller: Arc<Caller>,
) -> Result<(Watch, Result<Progress, ReadingError>), ApiError> {
    in_background(move || {
        let progress = watch.read(&caller);
        (watch, progress)
    })
    .await
}
