"""Carries a plan out: deletes, creates, mends. Every decision is made elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from stepstream_operator.api import TrainingJob
from stepstream_operator.children import Manifest
from stepstream_operator.children.manifest import clash, is_of_a_job, is_owned
from stepstream_operator.children.names import JOB_LABEL
from stepstream_operator.controller.job_log import JobLog
from stepstream_operator.controller.watched import RESOURCE_OF_KIND, Stores
from stepstream_operator.plan import Deletion, Plan
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.errors import ApiError, RequestFailed
from stepstream_operator.runtime.resources import SECRETS, Object, Resource

log = JobLog("operator.apply")
_NEVER_TWICE = ("Job", "Secret")
"""A second set of learners, or an authority that running pods do not know, must not come of a stale read."""


class NotYet(RequestFailed):
    """Something that our reads did not show stands in the way; it will be gone or seen soon."""

    @property
    def is_temporary(self) -> bool:
        return True


class Refused(Exception):
    """The API server will not have a child, and trying again alone will not change that. The message is the user's."""


class Applier:
    """Thread-safe."""

    def __init__(self, client: Client, stores: Stores) -> None:
        self._client, self._stores = client, stores

    def carry_out(self, job: TrainingJob, plan: Plan) -> None:
        """Raises RequestFailed for what will pass, Refused for what a person must mend."""
        self.delete(job, plan.deletes)
        for child in plan.patches:
            self.apply(job, child)
        for child in plan.creates:
            self._create(job, child)

    def delete(self, job: TrainingJob, deletions: Iterable[Deletion]) -> None:
        for deletion in deletions:
            resource = RESOURCE_OF_KIND[deletion.kind]
            log.info("delete", kind=deletion.kind, child=deletion.name)
            self._client.delete(
                resource,
                deletion.namespace,
                deletion.name,
                preconditions={"uid": deletion.uid},
                propagation=deletion.propagation,
            )

    def check(self, job: TrainingJob, child: Manifest) -> None:
        """Asks the API server whether it would take `child`. Raises Refused, RequestFailed."""
        self._send(job, RESOURCE_OF_KIND[child["kind"]], child, dry_run=True)

    def apply(self, job: TrainingJob, child: Manifest) -> None:
        resource = RESOURCE_OF_KIND[child["kind"]]
        log.info("apply", kind=child["kind"], child=child["metadata"]["name"])
        self._wrote(resource, self._send(job, resource, child))

    def uncover(self, job: TrainingJob, resource: Resource, name: str) -> None:
        """Gives a child that is there, but is not followed any more, back the label by which it is."""
        found = self._client.get(resource, job.namespace, name)
        if found is not None and is_owned(found, job) and not _is_labelled(found, job):
            self._label(job, resource, found)

    def _create(self, job: TrainingJob, child: Manifest) -> None:
        """The store knows none of that name; the server is asked too, lest an object of somebody else be taken over."""
        resource, metadata = RESOURCE_OF_KIND[child["kind"]], child["metadata"]
        if child["kind"] == SECRETS.kind and self._create_outright(job, child):
            return
        found = self._client.get(resource, metadata["namespace"], metadata["name"])
        if found is not None and not is_owned(found, job):
            raise _in_the_way(found)
        if found is not None and not _is_labelled(found, job):
            self._label(job, resource, found)
        elif found is not None and child["kind"] in _NEVER_TWICE:
            raise NotYet(f"{child['kind']} {metadata['name']} is there already, though our reads did not show it")
        else:
            self.apply(job, child)

    def _label(self, job: TrainingJob, resource: Resource, found: Object) -> None:
        """And no more: what else is to be mended is seen once the object is."""
        metadata = found["metadata"]
        log.info("label", kind=resource.kind, child=metadata["name"])
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "labels": {JOB_LABEL: job.name}}}
        self._wrote(resource, self._client.merge(resource, job.namespace, metadata["name"], body))

    def _create_outright(self, job: TrainingJob, child: Manifest) -> bool:
        """In one request, which fails where anything has the name. A Secret never loses a field that it once had, so
        it may do without the field ownership that only an apply gives."""
        try:
            created = self._client.create(SECRETS, job.namespace, child)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return False
            raise _meaning(child, error) from error
        log.info("create", kind=child["kind"], child=child["metadata"]["name"])
        self._wrote(SECRETS, created)
        return True

    def _wrote(self, resource: Resource, answer: Object) -> None:
        answer["metadata"].pop("managedFields", None)
        self._stores[resource].wrote(answer)

    def _send(self, job: TrainingJob, resource: Resource, child: Manifest, *, dry_run: bool = False) -> Object:
        try:
            return self._client.apply(resource, job.namespace, child, dry_run=dry_run)
        except ApiError as error:
            raise _meaning(child, error) from error


def _is_labelled(found: Object, job: TrainingJob) -> bool:
    return bool((found["metadata"].get("labels") or {}).get(JOB_LABEL) == job.name)


def _meaning(child: Manifest, error: ApiError) -> Exception:
    """What the server's answer to a write of `child` means: it passes, or a person must mend it."""
    name = f"{child['kind']} {child['metadata']['name']}"
    if error.is_temporary or error.is_namespace_ending:
        return error
    if error.code == 422 and "field is immutable" in error.message:
        return NotYet(f"{name} is still an earlier one: {error.message}")
    return Refused(f"{name} is refused: {error.message}")


def _in_the_way(found: Object) -> NotYet | Refused:
    """The error for an object that is not this job's: an earlier job's is about to be collected, another's stays."""
    return NotYet(clash(found)) if is_of_a_job(found) else Refused(clash(found))
