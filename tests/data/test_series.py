"""Series: arrays, folders of .wav files and long-form .csv files are read as what they are, or refused in a line."""

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from undiffuse.codec import Normalise
from undiffuse.core.errors import UserError
from undiffuse.data.own import SeriesFiles
from undiffuse.data.readers.array import from_array
from undiffuse.data.ready import Pulse
from undiffuse.kind import describe
from undiffuse.measure.series import autocorrelation, autocorrelation_distance, log_spectrum, spectrum_distance

TONE = np.sin(np.linspace(0, 60, 400))


def wav(folder, name: str, x: np.ndarray, rate: int = 8000) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(folder / name, rate, x)


def wav_24(path, x: np.ndarray, rate: int = 8000) -> None:
    """24 bits, which scipy reads and does not write."""
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(rate)
        file.writeframes(b"".join(int(v * (2**23 - 1)).to_bytes(3, "little", signed=True) for v in x))


def test_floats_of_three_dimensions_are_series_and_of_four_pictures():
    series = from_array(np.random.default_rng(0).normal(size=(6, 2, 50)))
    assert series.kind == "series" and series.shape == (2, 50) and series.x.dtype == torch.float32
    pictures = from_array(np.random.default_rng(0).normal(size=(6, 5, 4, 3)))
    assert pictures.kind == "pictures" and pictures.shape == (3, 5, 4) and pictures.x.dtype == torch.float32
    for data in (series, pictures):
        codec = Normalise.measure(data)
        assert codec.mean.numel() == data.shape[0] and not codec.quantised
        torch.testing.assert_close(codec.decode(codec.encode(data.x)), data.x)
    assert "series of 2 x 50" in describe(series) and "channel 3" in describe(pictures)
    assert Normalise.measure(series).facts() is None and "quantised" in Normalise.measure(pictures).facts()


def test_a_folder_of_sound_of_any_depth(tmp_path):
    wav(tmp_path, "a/16.wav", (TONE * 32767).astype(np.int16))
    wav(tmp_path, "a/8.wav", (TONE * 127 + 128).astype(np.uint8))
    wav(tmp_path, "b/float.wav", TONE.astype(np.float32))
    wav_24(tmp_path / "b/24.wav", TONE)
    data = SeriesFiles(str(tmp_path)).open("all")
    assert data.shape == (1, 400) and data.label_names == ("a", "b") and data.labels.tolist() == [0, 0, 1, 1]
    for row in data.x:
        assert np.abs(row[0].numpy() - TONE).max() < 0.02
    assert "8,000 samples a second" in " ".join(data.notes)


def test_what_differs_between_files_is_said(tmp_path):
    wav(tmp_path, "long.wav", np.tile(TONE, 2).astype(np.float32))
    wav(tmp_path, "stereo.wav", np.stack([TONE, -TONE], 1).astype(np.float32))
    wav(tmp_path, "silent.wav", np.zeros(400, np.float32))
    data = SeriesFiles(str(tmp_path)).open("all")
    said = " ".join(data.notes)
    assert data.shape == (1, 400)
    assert "400 to 800 values: all cut to 400" in said and "averaged to one channel" in said and "silent" in said
    pieces = SeriesFiles(str(tmp_path), length=150).open("all")
    assert len(pieces) == 5 + 2 + 2 and pieces.shape == (1, 150)
    stereo = tmp_path / "only"
    for k in range(3):
        wav(stereo, f"{k}.wav", np.stack([TONE, (k + 1) * TONE / 4], 1).astype(np.float32))
    assert SeriesFiles(str(stereo)).open("all").shape == (2, 400)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: wav(f, "b.wav", TONE.astype(np.float32), 11025), "resample them to one rate"),
        (lambda f: (f / "b.wav").write_bytes(b"RIFFnonsense"), "cannot be read as sound"),
        (lambda f: wav(f, "b.wav", TONE[:2].astype(np.float32)), "4 are needed"),
    ],
)
def test_folders_that_cannot_be_trained_on(tmp_path, damage, said):
    wav(tmp_path, "a.wav", TONE.astype(np.float32))
    damage(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        SeriesFiles(str(tmp_path)).open()
    assert "\n" not in str(caught.value)


def test_the_long_form(tmp_path):
    path = tmp_path / "long.csv"
    rows = [f"s{k},{t},{k + t},{10 * k - t}" for t in (2, 0, 1, 3, 4) for k in range(6)]
    path.write_text("series,time,left,right\n" + "\n".join(rows) + "\n")
    data = SeriesFiles(str(path)).open("all")
    assert data.shape == (2, 5)
    first = sorted(data.x.tolist())[0]
    assert first == [[0, 1, 2, 3, 4], [0, -1, -2, -3, -4]]
    path.write_text(path.read_text().replace("series", "sensor"))
    with pytest.raises(UserError, match="no column names the series"):
        SeriesFiles(str(path)).open()
    assert SeriesFiles(str(path), by="sensor").open("all").shape == (2, 5)
    with pytest.raises(UserError, match="did you mean sensor"):
        SeriesFiles(str(path), by="sensr").open()
    path.write_text("series,x\na,1\na,\nb,2\nb,3\n")
    with pytest.raises(UserError, match="not a number in every row"):
        SeriesFiles(str(path)).open()


def test_pulses_are_drawn_anew_for_the_test_split():
    train, test = Pulse(count=50).open("train"), Pulse(count=50).open("test")
    assert train.shape == (1, 128) and train.label_names == ("slow", "fast")
    assert not torch.equal(train.x, test.x) and torch.equal(train.x, Pulse(count=50).open("train").x)
    with pytest.raises(UserError, match="at least 32 values"):
        Pulse(length=8).open()


# ------------------------------------------------------------------------------------------ measures


def test_the_spectrum_of_a_tone_and_of_noise():
    t = torch.arange(64) / 64
    tone = torch.sin(2 * torch.pi * 5 * t).expand(3, 1, 64)
    assert (log_spectrum(tone).argmax(-1) == 4).all()  # the frequency 5, as 0 is left out
    noise = torch.randn(4000, 1, 64, generator=torch.Generator().manual_seed(0))
    power = log_spectrum(noise).exp().mean(0)
    assert (power[0, :-1] - 1).abs().max() < 0.1  # white: the variance at every frequency


def test_the_autocorrelation_is_that_of_its_definition():
    x = torch.randn(7, 2, 30, generator=torch.Generator().manual_seed(0)).cumsum(-1).double()
    centred = x - x.mean(-1, keepdim=True)
    energy = centred.square().sum(-1)
    for lag in (1, 4, 15):
        product = (centred[..., lag:] * centred[..., : 30 - lag]).sum(-1)
        torch.testing.assert_close(autocorrelation(x)[:, lag - 1], (product / energy).mean(0))
    assert (autocorrelation(torch.ones(2, 1, 10)) == 0).all()


def test_a_shift_changes_values_and_not_what_is_heard():
    x = Pulse(count=400).open().x
    shifted = x.roll(20, -1)
    assert spectrum_distance(x, shifted) < 1e-5
    slow = Pulse(count=400).open()
    other = slow.x[slow.labels == 1][:100]
    same, apart = slow.x[slow.labels == 0][:100], slow.x[slow.labels == 0][100:200]
    assert spectrum_distance(same, other) > 2 * spectrum_distance(same, apart)
    assert autocorrelation_distance(same, other) > 3 * autocorrelation_distance(same, apart)
