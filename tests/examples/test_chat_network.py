"""The chat example's network: pieces, company and fixed shapes change nothing of what comes out."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.examples.chatting import TINY, chat, reference, tensors  # noqa: E402

Piece, Cache, Llama, Decoder = chat.network.Piece, chat.network.Cache, chat.network.Llama, chat.decoder.Decoder
SLOTS, LENGTH = 8, 512
pytestmark = pytest.mark.usefixtures("one_thread")

CLOSE = {"atol": 2e-4, "rtol": 2e-4}


@pytest.fixture(scope="module")
def net() -> Any:
    return Llama(TINY, tensors(), "cpu")


@pytest.fixture
def cache() -> Any:
    return Cache(TINY, SLOTS, LENGTH, "cpu", torch.float32)


def sequence(seed: int, length: int) -> list[int]:
    return torch.randint(TINY.vocabulary, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def greedy(logits: Any, number: int, tokens: Any) -> None:
    """Leave it at the likeliest."""


def test_pieces_of_many_sequences_in_any_mix_are_read_as_by_the_plain_pass(net, cache):
    sequences = {slot: sequence(slot, length) for slot, length in enumerate((1, 24, 7, 13, 33, 2))}
    read = dict.fromkeys(sequences, 0)
    sizes = iter([1, 5, 3, 1, 9, 1, 16, 2, 1, 4] * 40)
    while any(read[slot] < len(tokens) for slot, tokens in sequences.items()):
        pieces = []
        for slot in (3, 0, 5, 1, 4, 2):  # in no order
            start, tokens = read[slot], sequences[slot]
            if start < len(tokens):
                pieces.append(Piece(slot, start, tokens[start : start + next(sizes)]))
        logits = net.logits(net.forward(pieces, cache))
        for piece, row in zip(pieces, logits, strict=True):
            torch.testing.assert_close(row, reference(net, sequences[piece.slot][: piece.end])[-1], **CLOSE)
            read[piece.slot] = piece.end


def test_a_slot_is_as_good_as_new_to_the_next_sequence(net, cache):
    net.forward([Piece(0, 0, sequence(1, 300))], cache)
    tokens = sequence(2, 20)
    logits = net.logits(net.forward([Piece(0, 0, tokens)], cache))
    torch.testing.assert_close(logits[0], reference(net, tokens)[-1], **CLOSE)


@pytest.mark.parametrize("slots", [[0], [0, 1, 2], [5, 2, 7], [3]])
def test_steps_in_fixed_shapes_are_those_of_the_forward_pass(net, cache, slots):
    prompts = {slot: sequence(slot, 30 + 70 * slot // 2) for slot in slots}  # within several windows
    net.forward([Piece(slot, 0, tokens[:-1]) for slot, tokens in prompts.items()], cache)
    pieces = [Piece(slot, len(tokens) - 1, tokens[-1:]) for slot, tokens in prompts.items()]
    before = [layer.clone() for layer in (*cache.keys, *cache.values)]
    decoder = Decoder(net, cache, record=False)
    assert (decoder.batches, decoder.windows) == ([1, 2, 4, 8], [256, 512])
    found = decoder.run(pieces, 5, greedy)
    for slot, tokens in zip(slots, found, strict=True):
        assert len(tokens) == 5
        logits = reference(net, [*prompts[slot], *tokens])[len(prompts[slot]) - 1 : -1]
        assert logits.argmax(-1).tolist() == tokens
    others = [slot for slot in range(SLOTS) if slot not in slots]
    for layer, old in zip((*cache.keys, *cache.values), before, strict=True):
        assert torch.equal(layer[others, :, :LENGTH], old[others, :, :LENGTH])  # who takes no part is left alone


def test_steps_beyond_a_slots_room_go_where_nothing_looks(net, cache):
    tokens = sequence(1, LENGTH - 1)
    net.forward([Piece(0, 0, tokens[:-1]), Piece(1, 0, tokens[:10])], cache)
    neighbour = [layer[1].clone() for layer in cache.keys]
    found = Decoder(net, cache, record=False).run([Piece(0, LENGTH - 2, tokens[-1:])], 4, greedy)[0]
    expected = reference(net, [*tokens, found[0]])[-2:].argmax(-1).tolist()
    assert found[:2] == expected
    assert all(
        torch.equal(layer[1, :, :LENGTH], old[:, :LENGTH]) for layer, old in zip(cache.keys, neighbour, strict=True)
    )


def test_memory_of_slots_is_taken_as_it_is_written():
    large = Cache(TINY, 1024, 4096, "cpu", torch.float32)  # 2 GB in each layer
    large.keys[1][1000, 1, 4000] = 1.0
    assert large.keys[1][1000, :, 4000].sum() == TINY.head
    assert large.values[0][5].count_nonzero() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recorded_steps_are_those_that_are_not(dtype):
    taken = {name: tensor.to(dtype) for name, tensor in tensors().items()}
    net = Llama(TINY, taken, "cuda")
    runs = []
    for record in (False, True):
        cache = Cache(TINY, SLOTS, LENGTH, "cuda", dtype)
        decoder = Decoder(net, cache, record=record)
        said = []
        for slots in ([0], [0, 1, 2], [1, 6], [0, 1, 2, 3, 4, 5, 6, 7]):
            prompts = {slot: sequence(slot, 30 + 35 * slot) for slot in slots}
            net.forward([Piece(slot, 0, tokens[:-1]) for slot, tokens in prompts.items()], cache)
            pieces = [Piece(slot, len(tokens) - 1, tokens[-1:]) for slot, tokens in prompts.items()]
            said.append(decoder.run(pieces, 8, greedy))
        runs.append(said)
    assert runs[0] == runs[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_on_a_gpu_it_says_what_the_plain_pass_says():
    net, cpu = Llama(TINY, tensors(), "cuda"), Llama(TINY, tensors(), "cpu")
    cache = Cache(TINY, SLOTS, LENGTH, "cuda", torch.float32)
    prompt = sequence(1, 50)
    net.forward([Piece(2, 0, prompt[:-1])], cache)
    found = Decoder(net, cache, record=True).run([Piece(2, 49, prompt[-1:])], 8, greedy)[0]
    assert reference(cpu, [*prompt, *found])[49:-1].argmax(-1).tolist() == found
