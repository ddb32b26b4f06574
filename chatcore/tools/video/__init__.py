"""What `analyze_video` takes out of a video, by ffmpeg: single frames, its sound, and how loud that is."""
