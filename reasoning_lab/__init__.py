"""reasoning_lab: are reasoning capabilities already present in base language models?"""
