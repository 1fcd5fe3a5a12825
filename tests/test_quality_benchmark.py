"""The benchmark of quality, with small images and for a moment: the rows that it reports."""

import pytest

from benchmarks import quality


@pytest.fixture
def short(monkeypatch, no_figures):
    monkeypatch.setattr(quality, "SECONDS", 0.2)
    monkeypatch.setattr(quality, "NUM_DIMS", 6)


def test_the_rows_are_the_psnr_of_the_model_and_of_as_many_principal_components(short, small_images):
    metrics = quality.train_and_measure(data_dir=str(small_images), image_size=32, num_filters=(8, 6, 4), batch_size=8)
    ours, components, steps = quality.rows(metrics, "small images")
    assert ours.name == "PSNR after 0.2 s, small images, d = 6" and 5 < ours.value < 50
    assert components.name == "principal components, small images, d = 6" and components.value > 20 and steps.value >= 1


@pytest.mark.parametrize(
    ("arguments", "images"), [([], {"num_samples": quality.NUM_FACES}), (["photographs"], {"data_dir": "photographs"})]
)
def test_it_trains_on_embedded_faces_or_on_the_given_images(arguments, images, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(
        quality, "train_and_measure", lambda **given: trained.append(given) or dict.fromkeys(("psnr_db", "pca_psnr_db", "steps"), 1.0)
    )
    quality.main(arguments)
    assert trained == [images] and len(capsys.readouterr().out.splitlines()) == 3
