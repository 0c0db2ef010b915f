"""The studio as a Hugging Face Space: the bundled models, without training, with a queue and limits."""

from nelbo.studio import CSS, MOST_UPLOADED, Collection, build, theme

page = build(Collection(device="cpu")).queue(max_size=20, default_concurrency_limit=1)

if __name__ == "__main__":
    page.launch(theme=theme(), css_paths=CSS, max_file_size=MOST_UPLOADED, footer_links=["gradio", "settings"])
