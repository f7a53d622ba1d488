import pytest

from kdmm.data.sound_font.envelope import Envelope
from kdmm.data.sound_font.presets import read_presets
from kdmm.data.sound_font.voice import Recording
from kdmm.errors import InputError
from tests.data.sound_font.fonts import Recorded, keys, velocities, write_font

RECORDINGS = [
    Recorded(0, 100, loop=(20, 60)),
    Recorded(100, 300, loop=(150, 290), rate=44100, key=69, correction=-7),
]
SHORT = 2**-10  # -12000 timecents, seconds


def presets(path, instruments, presets_=(("preset", 0, 0, [[(41, 0)]]),), recordings=RECORDINGS):
    return read_presets(write_font(path / "a.sf2", [0] * 300, recordings, instruments, presets_))


def voice(path, zone, preset_zone=(), key=60, velocity=100):
    found = presets(path, [[[*zone, (53, 1)]]], [("preset", 0, 0, [[*preset_zone, (41, 0)]])])
    (only,) = found.voices(0, 0, key, velocity)
    return only


def test_defaults_are_those_of_the_specification(tmp_path):
    found = voice(tmp_path, [])
    assert found.recording == Recording(100, 300, None, 44100)
    assert found.cents == 100 * (60 - 69) - 7
    assert found.attenuation_db == 0
    assert found.volume == found.modulation == Envelope(SHORT, SHORT, SHORT, SHORT, 0, SHORT)
    assert (found.bend_cents, found.cutoff_cents, found.sweep_cents, found.resonance_db) == (0, 13500, 0, 0)


@pytest.mark.parametrize(
    ("zone", "preset_zone", "key", "cents"),
    [
        ([(58, 60)], [], 60, -7),
        ([(58, 60)], [], 72, 1200 - 7),
        ([(58, 60), (56, 50)], [], 72, 600 - 7),
        ([(56, 0)], [], 20, -7),
        ([(51, -2), (52, 13)], [], 69, -200 + 13 - 7),
        ([(51, -2)], [(51, 3), (52, -50)], 69, 100 - 50 - 7),
        ([(58, 60)], [(58, 5)], 60, -7),  # a preset has no root key
    ],
)
def test_pitch_adds_up_from_key_scale_and_tuning(tmp_path, zone, preset_zone, key, cents):
    assert voice(tmp_path, zone, preset_zone, key).cents == cents


def test_a_preset_adds_to_its_instrument(tmp_path):
    found = voice(tmp_path, [(48, 120), (8, 9000), (38, -1200)], [(48, 35), (8, -500), (11, 700), (38, 1200)])
    assert found.attenuation_db == 15.5
    assert (found.cutoff_cents, found.sweep_cents) == (8500, 700)
    assert found.volume.release == 1


def test_attenuation_and_sustain_are_never_below_zero(tmp_path):
    found = voice(tmp_path, [(48, -50), (37, -20), (29, 2000)])
    assert (found.attenuation_db, found.volume.sustain, found.modulation.sustain) == (0, 0, 1)


def test_envelopes_are_read_in_their_units(tmp_path):
    stages = [(33, -1200), (34, 0), (35, 1200), (36, 2400), (37, 300), (38, -2400)]
    modulation = [(25, 0), (26, 1200), (27, -1200), (28, -2400), (29, 250), (30, 2400)]
    found = voice(tmp_path, stages + modulation)
    assert found.volume == Envelope(0.5, 1, 2, 4, 30, 0.25)
    assert found.modulation == Envelope(1, 2, 0.5, 0.25, 0.25, 4)


def test_hold_and_decay_are_scaled_by_key(tmp_path):
    stages = [(35, 0), (36, 0), (39, 100), (40, 50)]
    low, middle, high = (voice(tmp_path, stages, key=key).volume for key in (48, 60, 84))
    assert (low.hold, low.decay) == (2, pytest.approx(2**0.5))
    assert (middle.hold, middle.decay) == (1, 1)
    assert (high.hold, high.decay) == (0.25, 0.5)


def test_parts_and_loops_are_moved_in_points(tmp_path):
    found = voice(tmp_path, [(54, 1), (0, 3), (1, -4), (2, 5), (3, -6)])
    assert found.recording == Recording(103, 296, (155, 284), 44100)


def test_coarse_offsets_are_32768_points(tmp_path):
    recordings = [Recorded(0, 70_000, loop=(10, 69_000))]
    zone = [(54, 1), (4, 1), (45, 1), (50, -1), (3, 30_000), (12, 0), (53, 0)]
    path = write_font(tmp_path / "a.sf2", [0] * 70_000, recordings, [[zone]], [("preset", 0, 0, [[(41, 0)]])])
    (found,) = read_presets(path).voices(0, 0, 60, 100)
    assert found.recording == Recording(32768, 70_000, (32778, 69_000 + 30_000 - 32768), 16_000)


@pytest.mark.parametrize(("mode", "looped"), [(0, False), (1, True), (2, False), (3, True)])
def test_a_recording_is_looped_where_its_zone_says_so(tmp_path, mode, looped):
    assert voice(tmp_path, [(54, mode)]).recording.loop == ((150, 290) if looped else None)


def test_a_key_plays_the_zones_it_is_in(tmp_path):
    instrument = [
        [keys(0, 59), (53, 0)],
        [keys(55, 127), velocities(0, 80), (48, 10), (53, 1)],
        [keys(60, 127), velocities(81, 127), (48, 20), (53, 1)],
    ]
    found = presets(tmp_path, [instrument], [("preset", 0, 0, [[keys(20, 100), (41, 0)]])])

    def played(key, velocity):
        return [(each.recording.start, each.attenuation_db) for each in found.voices(0, 0, key, velocity)]

    assert played(20, 127) == [(0, 0)]
    assert played(57, 80) == [(0, 0), (100, 1)]
    assert played(57, 81) == [(0, 0)]
    assert played(60, 81) == [(100, 2)]
    assert played(100, 1) == [(100, 1)]
    assert played(19, 100) == played(101, 100) == []


def test_a_global_zone_is_for_all_that_follow(tmp_path):
    instrument = [[keys(30, 90), (48, 100), (54, 1)], [(53, 0)], [(48, 40), (54, 0), (53, 1)], [keys(0, 9), (53, 0)]]
    preset = [[(48, 7)], [(41, 0)], [(48, 9), (41, 0)]]
    found = presets(tmp_path, [instrument], [("preset", 0, 0, preset)])
    played = [(v.recording.loop, v.attenuation_db) for v in found.voices(0, 0, 60, 100)]
    assert played == [((20, 60), 10.7), (None, 4.7), ((20, 60), 10.9), (None, 4.9)]
    assert found.voices(0, 0, 29, 100) == []
    assert len(found.voices(0, 0, 5, 100)) == 2  # its own range, in both zones of the preset


def test_a_zone_without_a_recording_that_is_not_the_first_is_left_out(tmp_path):
    found = presets(tmp_path, [[[(53, 0)], [(48, 100)], [(53, 1)]]])
    assert [each.attenuation_db for each in found.voices(0, 0, 60, 100)] == [0, 0]


def test_presets_are_found_by_bank_and_program(tmp_path):
    rows = [("Flute ", 0, 73, [[(41, 0)]]), ("Kit", 128, 73, [[(41, 1)]])]
    found = presets(tmp_path, [[[(53, 0)]], [[(53, 1)]]], rows)
    assert found.names == {(0, 73): "Flute", (128, 73): "Kit"}
    assert [found.voices(bank, 73, 60, 100)[0].recording.start for bank in (0, 128)] == [0, 100]
    assert found.voices(0, 0, 60, 100) == []


def test_a_zone_that_plays_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InputError, match="'ibag' plays number 2 of 2"):
        presets(tmp_path, [[[(53, 2)]]])
    with pytest.raises(InputError, match="'pbag' plays number 1 of 1"):
        presets(tmp_path, [[[(53, 0)]]], [("preset", 0, 0, [[(41, 1)]])])


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ([(1, 1)], "plays points 100 to 301 of 300"),
        ([(0, 250)], "plays points 350 to 300"),
        ([(54, 1), (2, 140)], r"loops points 290 to 290 .* 100 to 300 \('tone'\)"),
        ([(54, 1), (2, -51)], "loops points 99 to 290"),
        ([(54, 1), (3, 11)], "loops points 150 to 301"),
    ],
)
def test_a_part_or_loop_outside_the_recording_is_an_error(tmp_path, zone, said):
    with pytest.raises(InputError, match=said):
        voice(tmp_path, zone)
