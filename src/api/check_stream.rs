//! `StreamCheckAccess`: many checks over one call.
//!
//! A message's checks are decided together and share one place in the audit log's buffer. Records
//! come to disk in the order in which they were appended, so that answers wait in a queue of which
//! only the first is looked at.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use http::Extensions;
use tokio::{sync::OwnedSemaphorePermit, task::JoinSet};
use tonic::{Status, Streaming, metadata::MetadataMap};

use crate::{
    audit::{
        buffer::{NotWritten, Receipts, Wait},
        log::AuditLog,
        record::Call,
    },
    identity::caller::Caller,
    service::{
        checks::{CheckError, Checker},
        refusals::Refusals,
    },
};

use super::{
    authorization::{not_recorded, refuse},
    call,
    convert::{check, decision},
    pb::{self, streamed_result::Result as SentResult},
    status::{self, ApiError},
    stream::{Outgoing, Over},
};

pub(super) const STREAM_CHECK: &str = "/aap.v1.AuthorizationService/StreamCheckAccess";

/// How many checks of a stream may wait for their answers.
const MAX_CHECKS_WAITING: usize = 4_096;
/// How many answers wait for a slow reader, beyond what its connection holds.
pub(super) const ANSWERS_AHEAD: usize = 4;

/// One open stream.
pub(super) struct CheckStream {
    /// Decides, for callers on this runtime.
    pub(super) checker: Checker,
    /// Where the decisions are recorded.
    pub(super) log: AuditLog,
    /// Records what is refused.
    pub(super) refusals: Refusals,
    /// What the client asks.
    pub(super) questions: Streaming<pb::StreamCheckAccessRequest>,
    /// What the call said of itself.
    pub(super) metadata: MetadataMap,
    /// What is known of its connection.
    pub(super) extensions: Extensions,
    /// Counts it among the open streams while it lasts.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What a stream has under way.
#[derive(Default)]
struct UnderWay {
    /// Messages that wait for a revision.
    early: JoinSet<(pb::StreamCheckAccessRequest, Result<(), CheckError>)>,
    /// Answers that wait for the disk, in the order in which their records come there.
    answers: VecDeque<Answer>,
    /// How many checks are in both.
    checks: usize,
    /// Whether the client has more to say.
    input: Input,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Input {
    #[default]
    Open,
    Ended,
}

struct Answer {
    response: pb::StreamCheckAccessResponse,
    /// `None` if nothing of it was decided.
    recorded: Option<Wait>,
}

/// What happens next on a stream.
enum Step {
    Asked(Result<Option<pb::StreamCheckAccessRequest>, Status>),
    Reached(pb::StreamCheckAccessRequest, Result<(), CheckError>),
    Recorded(Option<Result<Receipts, NotWritten>>),
    /// All is said and answered.
    Done,
}

impl CheckStream {
    /// Answers until the client has no more to ask, or the stream is over.
    pub(super) async fn run(mut self, mut outgoing: Outgoing<pb::StreamCheckAccessResponse>) {
        let Err(over) = self.answer_all(&mut outgoing).await;
        outgoing.end(over);
    }

    async fn answer_all(
        &mut self,
        outgoing: &mut Outgoing<pb::StreamCheckAccessResponse>,
    ) -> Result<Infallible, Over> {
        let mut under_way = UnderWay::default();
        loop {
            let mut step = None;
            let stepped = async {
                step = Some(under_way.step(&mut self.questions).await);
                Ok::<(), Infallible>(())
            };
            outgoing.wait(stepped).await?;
            match step {
                // The caller's standing changed, and it may go on.
                None => {}
                Some(Step::Done) => return Err(Over::Gone),
                Some(Step::Asked(Err(status))) => {
                    return Err(Over::Unreadable(status::unreadable(status)));
                }
                Some(Step::Asked(Ok(None))) => under_way.input = Input::Ended,
                Some(Step::Asked(Ok(Some(message)))) => {
                    check::check_count(message.checks.len())?;
                    under_way.checks += message.checks.len();
                    self.begin(outgoing.caller(), &mut under_way, message);
                }
                Some(Step::Reached(message, reached)) => {
                    under_way.answers.push_back(self.decide(outgoing.caller(), message, reached));
                }
                Some(Step::Recorded(recorded)) => {
                    if let Some(answer) = under_way.answers.pop_front() {
                        let response = self.finish(answer.response, recorded);
                        under_way.checks -= response.results.len();
                        outgoing.send(response).await?;
                    }
                }
            }
        }
    }

    /// Decides a message's checks, or has them wait for the revision that they demand.
    fn begin(
        &self,
        caller: &Arc<Caller>,
        under_way: &mut UnderWay,
        message: pb::StreamCheckAccessRequest,
    ) {
        let at_least = message.at_least_revision;
        if self.checker.is_at(at_least) {
            under_way.answers.push_back(self.decide(caller, message, Ok(())));
            return;
        }
        let checker = self.checker.clone();
        under_way.early.spawn(async move {
            let reached = checker.reach(at_least, call::PATIENCE).await;
            (message, reached)
        });
    }

    fn decide(
        &self,
        caller: &Arc<Caller>,
        message: pb::StreamCheckAccessRequest,
        reached: Result<(), CheckError>,
    ) -> Answer {
        let reached = reached.map_err(|error| ApiError::from(error).into());
        let decided = reached.and_then(|()| self.decide_all(caller, &message));
        decided.unwrap_or_else(|status| all_failed(&message.checks, &status))
    }

    /// Decides those of a message's checks that are valid, if its caller may ask them.
    fn decide_all(
        &self,
        caller: &Arc<Caller>,
        message: &pb::StreamCheckAccessRequest,
    ) -> Result<Answer, Status> {
        let pb::StreamCheckAccessRequest { parent, checks, request_id, at_least_revision: _ } =
            message;
        let location = check::parse_parent(parent)?;
        let facts = call::facts(caller, &self.metadata, &self.extensions);
        let refused = |facts: Call<'_>, error| refuse(&self.refusals, facts, STREAM_CHECK, error);
        Checker::authorize(caller, location).map_err(|error| refused(facts, error))?;
        check::check_request_id(request_id)?;
        let mut valid = Vec::with_capacity(checks.len());
        let mut places = Vec::with_capacity(checks.len());
        let mut results = Vec::with_capacity(checks.len());
        for (place, pb::StreamedCheck { correlation_id, check }) in checks.iter().enumerate() {
            let result = match check::parse_one(location, check.as_ref(), "") {
                Ok(check) => {
                    valid.push(check);
                    places.push(place);
                    SentResult::Decided(pb::CheckResult::default())
                }
                Err(error) => SentResult::Failed(status::failure(&error.into())),
            };
            let correlation_id = *correlation_id;
            results.push(pb::StreamedResult { correlation_id, result: Some(result) });
        }
        if valid.is_empty() {
            let response = pb::StreamCheckAccessResponse { results, revision: 0 };
            return Ok(Answer { response, recorded: None });
        }
        let facts = Call { request_id, ..facts };
        let deciding = self
            .checker
            .check_all(caller, facts, &valid, decision::send)
            .map_err(|error| refused(facts, error.among(&places)))?;
        for (result, decision) in decided_of(&mut results).zip(deciding.rendered) {
            result.decision = Some(decision);
        }
        let response = pb::StreamCheckAccessResponse { results, revision: deciding.revision };
        Ok(Answer { response, recorded: Some(deciding.recorded) })
    }

    /// Completes an answer whose records are on disk, or says that they are not.
    fn finish(
        &self,
        mut response: pb::StreamCheckAccessResponse,
        recorded: Option<Result<Receipts, NotWritten>>,
    ) -> pb::StreamCheckAccessResponse {
        match recorded {
            None => {}
            Some(Ok(receipts)) => {
                for (result, receipt) in decided_of(&mut response.results).zip(receipts.iter()) {
                    result.receipt = Some(decision::send_receipt(self.log.id(), receipt));
                }
            }
            Some(Err(error)) => {
                let failure = status::failure(&not_recorded(error).into());
                for sent in response.results.iter_mut().filter_map(|one| one.result.as_mut()) {
                    if matches!(sent, SentResult::Decided(_)) {
                        *sent = SentResult::Failed(failure.clone());
                    }
                }
                response.revision = 0;
            }
        }
        response
    }
}

impl UnderWay {
    async fn step(&mut self, questions: &mut Streaming<pb::StreamCheckAccessRequest>) -> Step {
        let has_room = self.checks + check::MAX_CHECKS <= MAX_CHECKS_WAITING;
        tokio::select! {
            biased;
            recorded = first_recorded(&mut self.answers), if !self.answers.is_empty() => {
                Step::Recorded(recorded)
            }
            Some(Ok((message, reached))) = self.early.join_next() => Step::Reached(message, reached),
            asked = questions.message(), if has_room && self.input == Input::Open => {
                Step::Asked(asked)
            }
            else => Step::Done,
        }
    }
}

/// Waits for the records of the first answer. Ends with their batch, or when that stalls.
async fn first_recorded(answers: &mut VecDeque<Answer>) -> Option<Result<Receipts, NotWritten>> {
    match answers.front_mut() {
        Some(Answer { recorded: Some(wait), .. }) => Some(wait.await),
        _ => None,
    }
}

fn all_failed(checks: &[pb::StreamedCheck], status: &Status) -> Answer {
    let failure = status::failure(status);
    let failed = |check: &pb::StreamedCheck| pb::StreamedResult {
        correlation_id: check.correlation_id,
        result: Some(SentResult::Failed(failure.clone())),
    };
    let results = checks.iter().map(failed).collect();
    Answer { response: pb::StreamCheckAccessResponse { results, revision: 0 }, recorded: None }
}

fn decided_of(results: &mut [pb::StreamedResult]) -> impl Iterator<Item = &mut pb::CheckResult> {
    results.iter_mut().filter_map(|one| match &mut one.result {
        Some(SentResult::Decided(result)) => Some(result),
        Some(SentResult::Failed(_)) | None => None,
    })
}
