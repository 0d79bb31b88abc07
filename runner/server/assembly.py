"""Putting a server together from its configuration: engine and workers, services, and what carries their bytes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from runner.config import ServerConfig
from runner.engine import Engine, Place
from runner.engine.replica import Host, StartHost
from runner.model import ModelClass
from runner.server.access import Access
from runner.server.catalog import Catalog
from runner.server.http_app import HttpApp
from runner.server.http_protocol import HttpProtocol
from runner.server.ingress.transport import IngressTransport
from runner.server.keyring import Keyring
from runner.server.native.protocol import Patience
from runner.server.native.transport import NativeTransport, connections_that_fit
from runner.server.rpcs import Rpcs
from runner.server.service import Service, ServiceOptions
from runner.server.status import rpc_status
from runner.server.transport import Transport
from runner.workers.cores import usable_cores, usable_cpus
from runner.workers.link import SERVER_QUIET_TURNS, Receiver
from runner.workers.messages import Load
from runner.workers.nvml import find_gpus, find_nvml
from runner.workers.placement import Machine, Placement, Wanted, place
from runner.workers.process import WorkerProcess

HostFor = Callable[[Placement], StartHost]

_SPARE = 64
_SPARE_PER_WORKER = 32
"""descriptors that connections leave to others, so that a worker which dies can be started again however many clients
there are: a worker has nine, twice as many while another version loads, and a dozen more at its start."""


def process_host(config: ServerConfig, keyring: Keyring) -> HostFor:
    """Run each replica in a process of its own, in whose environment there is none of these keys."""
    # The native transport brings all calls of a connection in one turn of the loop: there is nothing to wait for.
    quiet_turns = 0 if config.listen.transport == "native" else SERVER_QUIET_TURNS

    def host_for(placement: Placement) -> StartHost:
        return partial(
            WorkerProcess.spawn,
            environment=placement.environment,
            withholds=keyring.withholds,
            quiet_turns=quiet_turns,
            shared_bytes=config.workers.shared_memory,
        )

    return host_for


def inline_host(model_class: Callable[[], type[ModelClass]]) -> HostFor:
    """Run the replicas in this process.

    Args:
        model_class: returns the class; called when the model is to be loaded.
    """
    # Imported here: it brings the executor, and with it the model's own imports, which a server process never needs.
    from runner.workers.inline import InlineWorker

    async def start(receiver: Receiver) -> Host:
        return InlineWorker(receiver, model_class)

    def host_for(placement: Placement) -> Callable[[Receiver], Awaitable[Host]]:
        return start

    return host_for


def build_engine(config: ServerConfig, model_dir: Path | None, host_for: HostFor) -> Engine:
    """Return an engine that is not started yet.

    Args:
        config: the server's.
        model_dir: what workers load; None if `host_for` knows without.
        host_for: how a replica at a given place is started.

    Raises:
        ConfigError: the devices asked for are not there, or have too little memory.
    """
    wanted = [
        Wanted(devices=each.devices, replicas=each.replicas, group=each.id)
        for each in config.access.deployments
        if each.replicas
    ]
    # With deployments that have replicas of their own, these are all there are: they also run what names none.
    wanted = wanted or [Wanted(devices=config.workers.devices, replicas=config.workers.replicas)]
    places = [
        Place(
            placement.label,
            _load(config, model_dir, device=placement.device, cpus=placement.cpus),
            host_for(placement),
            config.workers.max_coroutines,
            placement.group,
            max_calls=config.workers.max_calls,
            max_memory=config.workers.max_memory,
            grace=config.drain.grace,
        )
        for placement in place(wanted, _machine(), gpu_memory_bytes=config.workers.gpu_memory_bytes)
    ]
    return Engine(
        places,
        max_queued_calls=config.admission.max_queued_calls,
        max_queued_bytes=config.admission.max_queued_bytes,
        max_queued_wait=config.admission.max_queued_wait,
    )


def successors(places: Sequence[Place], config: ServerConfig, model_dir: Path) -> list[Place]:
    """Return the same places for another version of the model.

    Args:
        places: where the replicas live now.
        config: what it says of workers and methods counts; of replicas and devices, nothing.
        model_dir: what the new workers load.
    """
    return [
        replace(
            place,
            load=_load(config, model_dir, device=place.load.device, cpus=place.load.cpus),
            max_coroutines=config.workers.max_coroutines,
        )
        for place in places
    ]


def build_catalog(config: ServerConfig) -> Catalog:
    """Return what the server says about itself."""
    return Catalog(config.model, strict_ids=config.access.strict_ids, deployments=config.access.deployments)


def build_service(config: ServerConfig, engine: Engine, keyring: Keyring, catalog: Catalog) -> Service:
    """Return the services in front of an engine, for callers with keys of the ring."""
    return Service(
        engine,
        catalog,
        Access(keyring, config.model.id, config.callers),
        ServiceOptions(
            max_message_bytes=config.listen.max_message_bytes,
            max_loading_wait=config.admission.max_loading_wait,
            max_loading_calls=config.admission.max_queued_calls,
            hide_model_errors=config.hide_model_errors,
            debug=config.debug,
        ),
    )


def build_transport(config: ServerConfig, rpcs: Rpcs, http_app: HttpApp, keyring: Keyring, engine: Engine) -> Transport:
    """Return what carries the bytes of RPCs; it listens nowhere yet.

    Args:
        config: says which transport, and what it is to do.
        rpcs: what is served.
        http_app: answers connections that speak HTTP/1.1, where the transport has some.
        keyring: keys that other processes are not to have in their environment.
        engine: where long requests lie, if the transport can have them there, and how many workers there are beside it.
    """
    listen = config.listen
    status_of = partial(rpc_status, hide_model_errors=config.hide_model_errors)
    if listen.ingress:
        return IngressTransport(
            listen.ingress,
            rpcs,
            status_of=status_of,
            http1=partial(HttpProtocol, http_app),
            max_message_bytes=listen.max_message_bytes,
            compress_replies=listen.compress_replies,
            max_age=listen.max_connection_age,
            age_grace=config.drain.grace,
            environment={name: value for name, value in os.environ.items() if not keyring.withholds(name, value)},
            shared_bytes=config.workers.shared_memory,
            reuse_port=listen.reuse_port,
            log=config.log,
        )
    if listen.transport == "native":
        return NativeTransport(
            rpcs,
            status_of=status_of,
            http1=partial(HttpProtocol, http_app),
            max_message_bytes=listen.max_message_bytes,
            compress_replies=listen.compress_replies,
            memory_for=engine.memory_for,
            patience=Patience(max_age=listen.max_connection_age, age_grace=config.drain.grace),
            reuse_port=listen.reuse_port,
            max_connections=connections_that_fit(_SPARE + _SPARE_PER_WORKER * len(engine.places)),
        )
    # Imported where it is wanted: gRPC alone is a fifth of what a server process has in memory without it.
    from runner.server.transport_grpcio import GrpcioTransport

    return GrpcioTransport(
        rpcs,
        status_of=status_of,
        max_message_bytes=listen.max_message_bytes,
        compress_replies=listen.compress_replies,
    )


def build_keyring(config: ServerConfig) -> Keyring:
    """Return the keys that the configuration names.

    Raises:
        ConfigError: the file of keys cannot be read, or is wrong.
    """
    return Keyring(config.access.keys, config.access.keys_file)


def _machine() -> Machine:
    return Machine(
        gpus=find_gpus(find_nvml(), os.environ.get("CUDA_VISIBLE_DEVICES")), cpus=usable_cpus(), cores=usable_cores()
    )


def _load(config: ServerConfig, model_dir: Path | None, *, device: str, cpus: str) -> Load:
    return Load(
        model_dir="" if model_dir is None else str(model_dir.resolve()),
        device=device,
        cpus=cpus,
        num_threads=config.workers.num_threads,
        max_streams=config.workers.max_streams,
        allow_private_urls=config.allow_private_urls,
        fetch_timeout=config.fetch.timeout,
        fetch_max_bytes=config.fetch.max_bytes,
        fetch_max_redirects=config.fetch.max_redirects,
        options=config.methods,
        debug=config.debug,
        log_level=config.log.level,
        log_format=config.log.format,
    )
