import numpy as np
import pytest

from stepstream_trainer.seeding import episode_seed, philox4x32, uniforms

# Random123's kat_vectors file, philox4x32 with 10 rounds: counter, key, block.
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: list[int], key: tuple[int, int], block: list[int]) -> None:
    words = philox4x32(tuple(np.array([word], np.uint64) for word in counter), key)  # type: ignore[arg-type]
    assert [int(word[0]) for word in words] == block


def test_a_whole_table_of_uniforms_equals_its_single_entries() -> None:
    slots, steps = np.array([0, 5, 2**33]), np.array([0, 7, 2**40])
    table = uniforms(3, slots, steps)
    assert table.shape == (3, 3)
    assert table.dtype == np.float32
    for t, step in enumerate(steps):
        np.testing.assert_array_equal(table[t], uniforms(3, slots, step))
        assert table[t, 2] == uniforms(3, slots[2:], step)[0]


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    sample = uniforms(1, np.arange(100), np.arange(1000)).ravel()
    assert sample.min() >= 0.0
    assert sample.max() < 1.0
    counts, _ = np.histogram(sample, bins=20, range=(0, 1))
    chi_squared = ((counts - 5000.0) ** 2 / 5000.0).sum()
    assert chi_squared < 50.0  # 19 degrees of freedom: exceeded once in 7,000 seeds, and this seed is fixed


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_steps_and_neighbouring_slots_are_uncorrelated(axis: int) -> None:
    sample = uniforms(1, np.arange(300), np.arange(300)).astype(np.float64)
    one, other = (sample[:-1], sample[1:]) if axis == 0 else (sample[:, :-1], sample[:, 1:])
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.015


def test_every_episode_of_every_slot_and_seed_has_a_seed_of_its_own() -> None:
    seeds = [episode_seed(job, slot, number) for job in (0, 1, 2**31 - 1) for slot in range(20) for number in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_episode_seeds_never_change_between_releases() -> None:
    assert [episode_seed(0, 0, 0), episode_seed(1, 2, 3)] == [2129600261, 67946666]
